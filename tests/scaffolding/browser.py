"""Drive headless Chromium through its debugging pipe, as a person would: set controls, read the page, take pictures.

The DevTools protocol sends JSON messages, each followed by a zero byte, over two file descriptors of the browser.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Chromium's own sandbox needs rights that root in a container lacks.
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
         "--no-first-run", "--disable-background-networking", "--force-color-profile=srgb")  # fmt: skip


def chromium() -> str | None:
    """Return the path of Chromium, or None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab of a running Chromium."""

    def __init__(self, to_browser: int, from_browser: BinaryIO) -> None:
        self._out, self._in = to_browser, from_browser
        self._last, self._session = 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result; events that come before it are kept."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _message(self) -> dict[str, Any]:
        """Read one message."""
        parts = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "Chromium ended."
            parts += byte
        return json.loads(parts)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Return as soon as a JavaScript condition is true."""
        self.evaluate(
            f"new Promise(done => {{ const ask = () => ({condition}) ? done() : setTimeout(ask, 20); ask() }})"
        )

    def open(self, path: Path, address: str = "") -> None:
        """Open a report and wait until it has drawn everything."""
        self.call("Page.navigate", url=path.resolve().as_uri() + address)
        self.settle()

    def settle(self) -> None:
        """Wait until the report has drawn the answer to its controls."""
        self.wait("['done', 'failed'].includes(document.body?.dataset.state)")
        assert self.evaluate("document.body.dataset.state") == "done", self.complaints()

    def set(self, **values: object) -> None:
        """Set controls by their ids, as input events, and wait for the answer; underscores stand for hyphens."""
        for name, value in values.items():
            self.evaluate(
                f"(control => {{ control.value = {json.dumps(str(value))};"
                f" document.body.dataset.state = 'asked';"
                f" control.dispatchEvent(new Event('input', {{bubbles: true}})) }})"
                f"(document.getElementById({json.dumps(name.replace('_', '-'))}))"
            )
            self.settle()

    def answer(self) -> dict[str, Any]:
        """Return the answer that the page shows, as the page writes it for other programs."""
        return json.loads(self.evaluate("document.getElementById('answer-json').textContent"))

    def complaints(self) -> list[str]:
        """Return what the page logged: errors of scripts and refusals of its security policy."""
        kinds = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [json.dumps(event["params"])[:400] for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for."""
        sent = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def screenshot(self, path: Path, *, width: int, height: int | None = None, dark: bool = False) -> None:
        """Write a picture of the page at a width in pixels; `height` None shows the whole page."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="screen", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height or 900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.wait("new Promise(done => setTimeout(() => done(true), 300))")
        self.settle()
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=height is None)["data"]
        path.write_bytes(base64.b64decode(data))

    def print(self, path: Path) -> None:
        """Write the page as it prints on A4, as PDF."""
        data = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """Yield a tab of a new Chromium that keeps its files in `profile`; Chromium ends with the block."""
    program = chromium()
    assert program is not None
    (browser_reads, we_write), (we_read, browser_writes) = os.pipe(), os.pipe()
    # The protocol wants the descriptors 3 and 4; the shell moves ours there.
    command = f'exec "$0" "$@" 3<&{browser_reads} 4>&{browser_writes}'
    process = subprocess.Popen(
        ["bash", "-c", command, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(browser_reads, browser_writes),
        stderr=subprocess.DEVNULL,
    )
    os.close(browser_reads)
    os.close(browser_writes)
    reader = os.fdopen(we_read, "rb")
    try:
        yield Browser(we_write, reader)
    finally:
        process.kill()
        process.wait()
        reader.close()
        os.close(we_write)
