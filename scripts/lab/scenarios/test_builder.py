"""`roost build` when things go wrong: it says what to do, and the next try works."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Subject

CONFIG = Path(__file__).resolve().parents[1] / "roost.toml"
LOCK = Path(__file__).resolve().parents[3] / "roost.lock"
#: A small package that every image needs.
PACKAGE = "ca-certificates"
#: Where mounts are the command's alone. Who is root has no need of a user namespace, and could not read there what is
#: another user's, as the cache may be.
MOUNTING = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def build(
    subject: Subject, output: Path, *options: str, config: Path = CONFIG, cache: Path | None = None
) -> list[str]:
    """The command line of a build into `output`."""
    environment = [f"ROOST_CACHE={cache}"] if cache else []
    # A shell starts background jobs with Ctrl-C switched off; the builds here must feel it.
    return ["env", "--default-signal=INT", *environment, str(subject.roost), "build", "--config", str(config), "--output", str(output), "--release", "1", *options]


def shared_cache() -> Path:
    """The cache that the image under test was built with."""
    return Path(os.environ["ROOST_CACHE"]) if "ROOST_CACHE" in os.environ else Path.home() / ".cache" / "roost"


def own_cache(folder: Path) -> Path:
    """A cache that shares packages, SDK root and compiled programs; every other step has to run."""
    (folder / "steps").mkdir(parents=True)
    for shared in ("packages", "sdk"):
        (folder / shared).symlink_to(shared_cache() / shared)
    (folder / "steps" / "compile").symlink_to(shared_cache() / "steps" / "compile")
    return folder


def same_image(subject: Subject, output: Path) -> bool:
    """Whether `output` holds the image under test, byte by byte."""
    return subprocess.run(["cmp", str(subject.image), str(output / "roost.img")]).returncode == 0


@contextmanager
def mirror(answers: dict[str, bytes]) -> Iterator[str]:
    """A Debian mirror on loopback that has the paths in `answers` and no other; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/debian"
        server.shutdown()


def test_a_mirror_that_lacks_or_damages_a_package(subject: Subject, tmp_path: Path) -> None:
    """Which package, why, what to do; nothing wrong is kept, and a good mirror then leads to the same image."""
    package = next(p for p in tomllib.loads(LOCK.read_text())["package"] if p["name"] == PACKAGE and p["use"] == "image")
    cache = own_cache(tmp_path / "cache")
    (cache / "packages").unlink()
    (cache / "packages").mkdir()
    for file in (shared_cache() / "packages").iterdir():
        (cache / "packages" / file.name).symlink_to(file)
    fetched = cache / "packages" / f"{package['sha256']}.deb"
    fetched.unlink()
    good = (shared_cache() / "packages" / fetched.name).read_bytes()
    damaged = bytearray(good)
    damaged[len(damaged) // 2] ^= 1

    answers: dict[str, bytes] = {}
    with mirror(answers) as address:
        config = tmp_path / "roost.toml"
        config.write_text(CONFIG.read_text() + f'\n[build]\nmirror = "{address}"\n')
        command = build(subject, tmp_path / "out", config=config, cache=cache)

        def refused() -> str:
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 1, done.stderr
            assert f"{PACKAGE} {package['version']}" in done.stderr
            assert not fetched.exists() and not list((cache / "packages").glob(".part-*"))
            return done.stderr

        assert "is no longer on the mirror" in (said := refused()) and "roost lock" in said
        answers[f"/debian/{package['path']}"] = bytes(damaged)
        assert "is damaged" in (said := refused()) and package["sha256"] in said and "try:" in said
        answers[f"/debian/{package['path']}"] = good
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert fetched.read_bytes() == good
    assert same_image(subject, tmp_path / "out")


def test_a_full_cache_is_said_and_the_retry_works(subject: Subject, tmp_path: Path) -> None:
    """The finished steps lie on a full file system; with space the same command succeeds."""
    cache = own_cache(tmp_path / "cache")
    script = (
        'mount -t tmpfs -o size=4m none "$1" && ln -s "$2" "$1/compile" && shift 2 && exec "$@"'
    )
    command = build(subject, tmp_path / "out", "--offline", cache=cache)
    full = [*MOUNTING, "sh", "-c", script, "sh", str(cache / "steps")]
    done = subprocess.run([*full, str(shared_cache() / "steps" / "compile"), *command], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "No space left" in done.stderr
    assert "free some space" in done.stderr
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert same_image(subject, tmp_path / "out")


def test_offline_with_an_empty_cache_says_so(subject: Subject, tmp_path: Path) -> None:
    """Exit code 3, and nothing is tried."""
    done = subprocess.run(
        build(subject, tmp_path / "out", "--offline", cache=tmp_path / "cache"), capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert "are not here yet" in done.stderr
    assert "run once without --offline" in done.stderr


def test_an_unknown_key_is_refused_with_its_line(subject: Subject, tmp_path: Path) -> None:
    """Exit code 2, the line, and the nearest valid name."""
    config = tmp_path / "roost.toml"
    config.write_text(CONFIG.read_text() + '\n[network]\ngatevay = "192.168.1.1"\n')
    done = subprocess.run([str(subject.roost), "build", "--config", str(config)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "gatevay" in done.stderr and "gateway" in done.stderr


def test_a_full_disk_is_said_and_the_retry_works(subject: Subject, tmp_path: Path) -> None:
    """The output folder is a full file system of its own; with space the same command succeeds."""
    output = tmp_path / "out"
    output.mkdir()
    script = 'mount -t tmpfs -o size=4m none "$1" && shift && exec "$@"'
    command = [*MOUNTING, "sh", "-c", script, "sh", str(output)]
    done = subprocess.run([*command, *build(subject, output)], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "No space left" in done.stderr
    assert "free some space" in done.stderr
    done = subprocess.run(build(subject, output), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (output / "roost.img").stat().st_size > 0


@pytest.mark.parametrize("step", ["unpack the kernel", "make the slot", "write the image"])
def test_an_interrupted_build_is_taken_up_again(subject: Subject, tmp_path: Path, step: str) -> None:
    """Ctrl-C in the middle of a step; the next build gives the image under test, byte by byte."""
    cache = own_cache(tmp_path / "cache")
    command = build(subject, tmp_path / "out", "--json", "--offline", cache=cache)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if f'"{step}"' in line and '"started"' in line:
                running.send_signal(signal.SIGINT)
                break
        else:
            pytest.fail(f"the build never came to {step!r}")
    assert running.returncode != 0
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert same_image(subject, tmp_path / "out")
