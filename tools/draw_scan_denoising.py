"""Draw docs/scan_denoising.png: a slice that no shipped model was trained on, at a part of its dose, and denoised.

    python tools/draw_scan_denoising.py --output docs/scan_denoising.png

The slice is explicit_VR-UN.dcm of the package pydicom-data (MIT), from the collection Pancreas-CT of The Cancer Imaging
Archive (Roth et al. 2016, doi:10.7937/K9/TCIA.2016.tNB1kqBU, CC-BY-3.0). Noise is simulated; PSNR is that of the preset
red-cnn over the whole slice.
"""

import argparse
from pathlib import Path

import data_store
import numpy as np
from matplotlib.figure import Figure

from translate.data.ct_noise import CtDose, simulate_low_dose
from translate.data.scan_folder import find_scans
from translate.pipelines import ScanDenoising
from translate.scan_metrics import PRESETS, measure

PART = (slice(110, 390), slice(110, 440))  # rows and columns that are shown
WINDOW = (-160, 240)  # HU
LARGEST = 60  # HU, of the residual's colours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ct-denoising")
    parser.add_argument("--dose", type=float, default=0.25)
    parser.add_argument("--kernel", default="D45f")
    parser.add_argument("--output", type=Path, default=Path("docs/scan_denoising.png"))
    options = parser.parse_args()
    (scan,) = find_scans(Path(data_store.__file__).parent / "data" / "explicit_VR-UN.dcm")
    full = scan.read(0)
    noisy = np.rint(
        simulate_low_dose(full, scan.header.spacing[1], CtDose(options.dose, filter=options.kernel), seed=1)
    )
    noisy = noisy.astype(np.float32)
    denoised = ScanDenoising.from_pretrained(options.model, device="cpu")(noisy, units="HU")
    figure = Figure(figsize=(12, 2.9), layout="constrained")
    axes = figure.subplots(1, 4)
    for place, (label, values) in zip(
        axes, {"full dose": full, f"{options.dose:.0%} of it": noisy, "denoised": denoised}.items(), strict=False
    ):
        place.imshow(values[PART], cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], interpolation="nearest")
        psnr = "" if values is full else f", {measure(values, full, PRESETS['red-cnn'])['psnr']:.1f} dB"
        place.set_title(label + psnr, fontsize=10)
    change = axes[3].imshow((denoised - noisy)[PART], cmap="RdBu_r", vmin=-LARGEST, vmax=LARGEST)
    axes[3].set_title("what was changed", fontsize=10)
    figure.colorbar(change, ax=axes[3], label="HU")
    for place in axes:
        place.axis("off")
    figure.savefig(options.output, dpi=110)


if __name__ == "__main__":
    main()
