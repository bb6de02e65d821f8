"""The model folder: what is written is found again, and what is damaged is refused with words."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from translate.checkpoint import CheckpointError, recover_folder, write_folder
from translate.model_folder import CONFIG, FILES, check_replaceable, load_generator, load_into, load_parts, read_config
from translate.model_sources import find_model, shipped_models
from translate.networks import GENERATORS, Identity, ResNet
from translate.pipelines.inference.pipeline import Pipeline
from translate.tiling.facts import facts_of


def change(folder, **values):
    """Overwrite keys of config.json; a dotted key goes down."""
    config = json.loads((folder / CONFIG).read_text())
    for key, value in values.items():
        *path, last = key.split("__")
        place = config
        for name in path:
            place = place[name]
        place[last] = value
    (folder / CONFIG).write_text(json.dumps(config))


def tensors_of(folder):
    return {path.name: load_file(path) for path in folder.glob("*.safetensors")}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_saved_model_is_a_config_and_one_file_for_each_network(small_model):
    names = ["a_to_b.safetensors", "b_to_a.safetensors", CONFIG, "discriminator_b.safetensors"]
    assert sorted(path.name for path in small_model.iterdir()) == names


def test_a_generator_is_loaded_by_its_name_and_the_first_by_default(small_model):
    for name, expected in ((None, "a_to_b"), ("a_to_b", "a_to_b"), ("b_to_a", "b_to_a")):
        generator, found, config = load_generator(small_model, name)
        assert found == expected
        assert isinstance(generator, ResNet)
        assert same(generator.state_dict(), load_file(small_model / f"{expected}.safetensors"))
        assert list(config.generators) == ["a_to_b", "b_to_a"]


def test_a_generator_that_is_not_there_is_refused_with_those_that_are(small_model):
    with pytest.raises(CheckpointError, match="has no generator 'b_to_c': it has a_to_b, b_to_a"):
        load_generator(small_model, "b_to_c")


def test_a_folder_without_config_is_no_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"is no model folder, it has no config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"generators": {}}', "at least 1 item"),
        ("{", "Invalid JSON"),
        ("[]", "valid dictionary|object"),
        ("", "Invalid JSON"),
        (b"\xff\xfe", "codec"),
    ],
)
def test_a_damaged_config_is_refused(small_model, content, reason):
    (small_model / CONFIG).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=rf"(?s)config\.json is no config of a model of this version.*{reason}"):
        load_generator(small_model)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"colour": "blue"}, "colour"),
        ({"format_version": 2}, "format_version"),
        ({"generators__a_to_b__steps": 3}, "steps"),
        ({"generators__a_to_b__input__channels": 2}, "channels"),
        ({"generators__a_to_b__input__range": {"low": 0, "high": 1}}, "units"),
        ({"generators": {"../../outside": {}}}, "String should match pattern"),
    ],
)
def test_a_config_with_unknown_keys_or_values_is_refused_by_their_name(small_model, changed, reason):
    change(small_model, **changed)
    with pytest.raises(CheckpointError, match=rf"(?s)is no config of a model of this version.*{reason}"):
        load_generator(small_model)


def test_a_network_of_a_newer_version_is_refused_with_those_that_are_known(small_model):
    change(small_model, generators__a_to_b__name="swin")
    with pytest.raises(CheckpointError, match=r"unknown network 'swin', this version knows .*identity, .*resnet"):
        load_generator(small_model)


@pytest.mark.parametrize("arguments", [{"widht": 4}, {"width": 0}, {"norm": "layer"}])
def test_arguments_that_the_network_refuses_are_named(small_model, arguments):
    change(small_model, generators__a_to_b__arguments=arguments)
    with pytest.raises(CheckpointError, match=r"'resnet' refuses the arguments in config\.json: .*(widht|width|norm)"):
        load_generator(small_model)


def test_sides_that_do_not_fit_the_network_are_refused(small_model):
    change(small_model, generators__a_to_b__input={"channels": 1})
    with pytest.raises(CheckpointError, match=r"takes and gives \(3, 3\) channels, but .* have \(1, 3\)"):
        load_generator(small_model)


def test_missing_weights_are_named(small_model):
    (small_model / "b_to_a.safetensors").unlink()
    load_generator(small_model, "a_to_b")
    with pytest.raises(CheckpointError, match=r"b_to_a\.safetensors is missing: the folder is incomplete"):
        load_generator(small_model, "b_to_a")


@pytest.mark.parametrize("length", [0, 7, 200, -1])
def test_truncated_weights_are_refused(small_model, length):
    path = small_model / "a_to_b.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"a_to_b\.safetensors is damaged .*: copy it again"):
        load_generator(small_model)


def test_weights_that_do_not_fit_are_refused_with_the_first_tensors(small_model):
    path = small_model / "a_to_b.safetensors"
    tensors = load_file(path)
    first, second = sorted(tensors)[:2]
    del tensors[first]
    tensors[second] = tensors[second][None]
    save_file(tensors | {"more": torch.zeros(1)}, path)
    message = f"1 tensors missing .'{first}'., 1 unknown .'more'., 1 of another shape .'{second}'."
    with pytest.raises(CheckpointError, match=message):
        load_generator(small_model)


def test_a_pickle_is_never_read_whatever_it_is_called(small_model):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    weights = small_model / "a_to_b.safetensors"
    weights.unlink()
    for name in ("a_to_b.pth", "a_to_b.bin", "pytorch_model.bin", "model.pt"):
        (small_model / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match=r"a_to_b\.safetensors is missing"):
        load_generator(small_model)
    weights.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="damaged"):
        load_generator(small_model)


def test_loading_calls_neither_torch_load_nor_pickle(small_model, monkeypatch):
    def refuse(*_arguments, **_options):
        pytest.fail("something was unpickled")

    for module, names in ((torch, ("load", "save")), (pickle, ("load", "loads", "Unpickler"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    pipe = Pipeline.from_pretrained(small_model, direction="b_to_a")
    load_into(small_model, {"a_to_b": pipe.generator})


def test_training_can_start_from_all_networks_discriminators_included(small_model):
    torch.manual_seed(1)
    arguments = read_config(small_model).generators["a_to_b"].arguments
    fresh = GENERATORS["resnet"](**arguments)
    load_into(small_model, {"b_to_a": fresh})
    assert same(fresh.state_dict(), load_file(small_model / "b_to_a.safetensors"))
    with pytest.raises(
        CheckpointError, match="no network 'judge' to start from: it has a_to_b, b_to_a, discriminator_b"
    ):
        load_into(small_model, {"judge": fresh})
    with pytest.raises(CheckpointError, match="does not fit its network"):
        load_into(small_model, {"discriminator_b": fresh})


def test_training_can_start_from_what_fits_and_begin_the_rest_anew(small_model, caplog):
    stored = load_file(small_model / "a_to_b.safetensors")
    torch.manual_seed(1)
    deeper = ResNet(width=4, blocks=2, upsample="resize")
    fresh, anew = {key: tensor.clone() for key, tensor in deeper.state_dict().items()}, ResNet(width=4, blocks=1)
    before = {key: tensor.clone() for key, tensor in anew.state_dict().items()}
    with caplog.at_level("INFO"):
        load_parts(small_model, {"a_to_b": deeper, "other": anew})
    fitting = {key for key in fresh if key in stored and stored[key].shape == fresh[key].shape}
    assert 0 < len(fitting) < len(fresh)
    for key, tensor in deeper.state_dict().items():
        assert torch.equal(tensor, stored[key] if key in fitting else fresh[key]), key
    assert same(anew.state_dict(), before)
    assert f"a_to_b takes over {len(fitting)} of {len(fresh)} tensors of {small_model}, " in caplog.text
    assert "and more begin anew" in caplog.text
    assert f"other begins anew: {small_model} has no such network" in caplog.text


def test_a_model_of_which_nothing_fits_is_no_start(small_model, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"nothing in .* fits the networks of the recipe \(judge, a_to_b\): give a"
    ):
        load_parts(small_model, {"judge": ResNet(width=4), "a_to_b": torch.nn.Linear(3, 3)})
    with pytest.raises(CheckpointError, match=r"is no model folder, it has no config\.json"):
        load_parts(tmp_path, {"a_to_b": ResNet(width=4)})


# finding models


def test_a_shipped_model_is_found_by_its_name_also_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    assert "identity" in shipped_models()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "identity").mkdir()  # results of an earlier command, say
    assert isinstance(load_generator(find_model("identity"))[0], Identity)
    assert find_model("identity") != tmp_path / "identity"


def test_a_model_in_a_folder_goes_before_a_shipped_one_of_its_name(small_model, monkeypatch):
    small_model.rename(small_model.with_name("identity"))
    monkeypatch.chdir(small_model.parent)
    assert isinstance(load_generator(find_model("identity"))[0], ResNet)


@pytest.mark.parametrize("name", ["idendity", "runs/a/model", "./nothing", "a b/c", "/nowhere"])
def test_an_unknown_model_is_refused_with_what_can_be_given(name):
    with pytest.raises(CheckpointError, match=rf"there is no model '{name}': give .* that ships, .*identity"):
        find_model(name)


def test_a_wrong_path_below_a_folder_that_exists_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="there is no model 'runs/modle'"):
        find_model("runs/modle")


def test_a_hub_id_is_downloaded_without_anything_that_could_be_a_pickle(small_model, monkeypatch):
    asked = []

    def download(repository, **options):
        asked.append((repository, options))
        return str(small_model)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    pipe = Pipeline.from_pretrained("somebody/model", revision="v2", token="secret", local_files_only=True)
    assert pipe.folder == small_model
    expected = {"revision": "v2", "token": "secret", "cache_dir": None, "local_files_only": True}
    assert asked == [("somebody/model", {**expected, "allow_patterns": list(FILES)})]


def test_a_hub_id_that_cannot_be_had_says_what_to_check(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"'somebody/model' is no folder here, and the hub did not give it \(.*\)"
    ):
        find_model("somebody/model", cache_dir=tmp_path)  # the tests are offline


# folders that are whole or absent


def test_a_failure_while_writing_leaves_the_old_folder(small_model):
    before = tensors_of(small_model)

    def write(aside):
        (aside / "half").write_text("a")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        write_folder(small_model, write)
    assert all(same(tensors, before[name]) for name, tensors in tensors_of(small_model).items())
    assert [path.name for path in small_model.parent.iterdir()] == ["small_model"]


def test_a_kill_between_the_two_renames_loses_nothing(small_model):
    before = tensors_of(small_model)
    small_model.rename(small_model.with_name(".small_model.old"))
    Pipeline.from_pretrained(small_model)
    assert tensors_of(small_model).keys() == before.keys()
    recover_folder(small_model)  # nothing to do
    assert small_model.is_dir()


def test_saving_again_keeps_every_network(small_model, tmp_path):
    pipe = Pipeline.from_pretrained(small_model, direction="b_to_a")
    (small_model / "README.md").write_text("a model\n")
    (small_model / "notes.txt").write_text("mine\n")
    for target in (tmp_path / "copies" / "new", tmp_path / "copies" / "new", tmp_path / "empty"):
        if target.name == "empty":
            target.mkdir()
        pipe.save_pretrained(target)
        saved, before = tensors_of(target), tensors_of(small_model)
        assert saved.keys() == before.keys()
        assert all(same(saved[name], before[name]) for name in before)
        written = read_config(target)
        assert written.generators["b_to_a"].tiling == facts_of(pipe.generator)  # what was not known is added
        unknown = {name: one.model_copy(update={"tiling": None}) for name, one in written.generators.items()}
        assert written.model_copy(update={"generators": unknown}) == read_config(small_model)
        assert (target / "README.md").read_text() == "a model\n"
        assert not (target / "notes.txt").exists()
    Pipeline.from_pretrained(tmp_path / "empty", direction="a_to_b")


def test_saving_into_its_own_folder_keeps_every_network(small_model):
    before = tensors_of(small_model)
    Pipeline.from_pretrained(small_model).save_pretrained(small_model)
    assert tensors_of(small_model).keys() == before.keys()


def test_saving_never_deletes_what_is_no_model(small_model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    pipe = Pipeline.from_pretrained(small_model)
    with pytest.raises(
        CheckpointError, match=r"holds 1 files or folders that belong to no model, for example cat\.jpg"
    ):
        pipe.save_pretrained(tmp_path / "photos")
    with pytest.raises(CheckpointError, match=r"cat\.jpg is a file: give a new folder"):
        pipe.save_pretrained(tmp_path / "photos" / "cat.jpg")
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
    check_replaceable(tmp_path / "nothing")


def test_a_generator_without_a_folder_is_saved_alone(small_model, tmp_path):
    generator, name, config = load_generator(small_model, "b_to_a")
    Pipeline(generator, config, name=name).save_pretrained(tmp_path / "alone")
    again = Pipeline.from_pretrained(tmp_path / "alone")
    assert again.name == "b_to_a"
    assert list(again.config.generators) == ["b_to_a"]
    assert again.config.discriminators == {}
    assert same(again.generator.state_dict(), generator.state_dict())


def test_a_model_is_pushed_to_the_hub_whole(small_model, monkeypatch):
    uploads = []

    class Hub:
        def __init__(self, token=None):
            assert token == "secret"

        def create_repo(self, repository, *, private, exist_ok):
            assert exist_ok
            uploads.append((repository, private))
            return type("Url", (), {"repo_id": f"me/{repository}"})

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            uploads.append((repo_id, sorted(path.name for path in folder_path.iterdir())))
            load_generator(folder_path, "b_to_a")
            return f"https://huggingface.co/{repo_id}/commit/1"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    (small_model / "private.txt").write_text("mine\n")
    url = Pipeline.from_pretrained(small_model).push_to_hub("model", private=True, token="secret")
    assert url == "https://huggingface.co/me/model/commit/1"
    names = ["a_to_b.safetensors", "b_to_a.safetensors", CONFIG, "discriminator_b.safetensors"]
    assert uploads == [("model", True), ("me/model", names)]


def test_a_run_folder_given_as_a_model_is_answered_with_the_model_inside(tmp_path, small_model):
    shutil.copytree(small_model, tmp_path / "run" / "model")
    with pytest.raises(
        CheckpointError, match=r"run is no model folder, it has no config\.json: did you mean .*model\?"
    ):
        Pipeline.from_pretrained(tmp_path / "run")


def test_a_start_from_another_width_names_the_models_settings(small_model):
    wider = {"a_to_b": ResNet(width=6, blocks=1)}
    with pytest.raises(
        CheckpointError, match=r"does not fit its network.*the model's a_to_b is resnet with .*'width': 4"
    ):
        load_into(small_model, wider)


def test_a_hub_that_cannot_be_reached_is_an_error_of_one_line(small_model):
    with pytest.raises(CheckpointError, match=r"the hub did not take 'owner/name' .*: check the name, your connection"):
        Pipeline.from_pretrained(small_model).push_to_hub("owner/name")
