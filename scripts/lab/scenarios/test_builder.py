"""`roost build` when things go wrong: it says what to do, and the next try works."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import Subject

CONFIG = Path(__file__).resolve().parents[1] / "roost.toml"


def build(subject: Subject, output: Path, *options: str, cache: Path | None = None) -> list[str]:
    """The command line of a build into `output`."""
    environment = [f"ROOST_CACHE={cache}"] if cache else []
    # A shell starts background jobs with Ctrl-C switched off; the builds here must feel it.
    return ["env", "--default-signal=INT", *environment, str(subject.roost), "build", "--config", str(CONFIG), "--output", str(output), *options]


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
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(output)]
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
    source = Path(os.environ["ROOST_CACHE"]) if "ROOST_CACHE" in os.environ else Path.home() / ".cache" / "roost"
    cache = tmp_path / "cache"
    (cache / "steps").mkdir(parents=True)
    for shared in ("packages", "sdk"):
        (cache / shared).symlink_to(source / shared)
    (cache / "steps" / "compile").symlink_to(source / "steps" / "compile")
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
    same = subprocess.run(["cmp", str(subject.image), str(tmp_path / "out" / "roost.img")])
    assert same.returncode == 0
