"""The page as a server: on one address, within limits, without a request to anywhere else."""

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from translate.pipelines.app.models import Shelf
from translate.pipelines.app.uploads import Limits, Workspace

LOCAL = ("127.0.0.1", "localhost", "::1")


class AppError(ValueError):
    """A page that cannot be started."""


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    host: the address to listen at; another one than localhost's can be reached by others.
    port: 0 takes a free one.
    """

    host: str = "127.0.0.1"
    port: int = 7860

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise AppError(f"--port {self.port} is no port: give 1 to 65535, or 0 for a free one")

    def free(self) -> "Address":
        """The same with a port that is free now.

        Raises:
            AppError: it is taken, or this machine has no such address.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise AppError(
                    f"the page cannot be served at {self.host}, port {self.port} ({error.strerror or error}): give "
                    "another --port, or --port 0 for a free one, and an address of this machine as --host"
                ) from None
            return Address(self.host, probe.getsockname()[1])


@dataclass(frozen=True)
class Service:
    """How the page is served.

    limits: of what is uploaded and made.
    queue: requests that may wait; more are refused with a message.
    open_browser: whether the page is opened on this machine.
    """

    limits: Limits = field(default_factory=Limits)
    queue: int = 64
    open_browser: bool = False

    def __post_init__(self) -> None:
        for name, value in (("--max-pixels", self.limits.max_pixels), ("--max-mb", self.limits.max_mb)):
            if value < 1:
                raise AppError(f"{name} must be at least 1, got {value}")
        if self.queue < 1:
            raise AppError(f"--queue must be at least 1, got {self.queue}")


def serve(shelf: Shelf, address: Address, service: Service, on_start: Callable[[str], object]) -> None:
    """Serve the page until the process is interrupted; nothing that was uploaded is left behind.

    Args:
        on_start: called with the URL when the page can be opened.

    Raises:
        AppError: Gradio is not installed, or the address cannot be used.
    """
    if find_spec("gradio") is None:
        raise AppError('the page needs Gradio: pip install "translate-images[app]"')
    address = address.free()
    with tempfile.TemporaryDirectory(prefix="translate-app-", ignore_cleanup_errors=True) as folder:
        workspace = Workspace(Path(folder) / "downloads", Path(folder) / "private")
        workspace.downloads.mkdir()
        workspace.private.mkdir()
        # Gradio reads these when it is imported, and when a component is made.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(workspace.downloads)}
        _without_proxy()
        _serve(shelf, address, service, workspace, on_start)


def _serve(
    shelf: Shelf, address: Address, service: Service, workspace: Workspace, on_start: Callable[[str], object]
) -> None:
    from translate.pipelines.app.looks import CSS, theme
    from translate.pipelines.app.page import build_page

    for chatty in ("httpx", "gradio", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    page = build_page(shelf, service.limits, workspace)
    # Handlers without a group of their own draw slices and previews; what computes has one, one at a time.
    page.queue(default_concurrency_limit=4, max_size=service.queue)
    _, url, _ = page.launch(
        server_name=address.host,
        server_port=address.port,
        inbrowser=service.open_browser,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=False,
        max_file_size=service.limits.max_mb * 1_000_000,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme(),
        css=CSS,
        footer_links=[],
    )
    on_start(url)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def _without_proxy() -> None:
    """Gradio asks its own server whether it runs: through a proxy it would not find it."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join([*filter(None, [os.environ.get(name)]), *LOCAL])
