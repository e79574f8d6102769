"""The relay's own files, out of the user data that Terraform renders.

    relay.py render VARIABLES.json   prints the user data for these inputs of modules/userdata
    relay.py files USER-DATA FOLDER  writes what cloud-init would write, below FOLDER

Tests set a relay up from exactly these files.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

#: The module that renders, which needs no provider.
MODULE = Path(__file__).resolve().parents[2] / "terraform/relay/modules/userdata"
#: What is said where terraform is not installed.
NO_TERRAFORM = "terraform is not installed: NOTHING about the relay's user data was tested"


def terraform(folder: Path, *arguments: str, secrets: Mapping[str, str] | None = None) -> str:
    """Runs terraform in a folder and returns what it printed; a failure carries all that it said.

    Secrets go by the environment: of a file, an error would quote the line.
    """
    (folder / "terraformrc").touch()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
        "TF_CLI_CONFIG_FILE": str(folder / "terraformrc"), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1",
        **{f"TF_VAR_{name}": value for name, value in (secrets or {}).items()},
    }
    done = subprocess.run(
        ["terraform", f"-chdir={folder}", *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    if done.returncode != 0:
        raise RuntimeError(f"terraform {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def render(variables: Mapping[str, object]) -> dict[str, object]:
    """All outputs of the module for these inputs. Nothing is written beside the module itself."""
    with tempfile.TemporaryDirectory(prefix="roost-userdata.") as place:
        folder = Path(place) / "module"
        shutil.copytree(MODULE, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests"))
        (folder / "test.auto.tfvars.json").write_text(json.dumps(variables))
        terraform(folder, "init", "-input=false", "-no-color")
        terraform(folder, "apply", "-auto-approve", "-input=false", "-no-color")
        outputs = json.loads(terraform(folder, "output", "-json"))
    return {name: output["value"] for name, output in outputs.items()}


def files(user_data: str) -> dict[str, tuple[str, int]]:
    """Path on the relay to content and mode, as cloud-init reads them."""
    document = yaml.safe_load(user_data)
    return {
        entry["path"]: (entry["content"], int(entry.get("permissions", "0644"), 8))
        for entry in document["write_files"]
    }


def environment(user_data: str) -> dict[str, str]:
    """What the relay's scripts read."""
    content, _ = files(user_data)["/etc/roost/relay.env"]
    return dict(word.split("=", 1) for word in shlex.split(content))


def write(user_data: str, folder: Path) -> None:
    """Writes them below a folder."""
    for path, (content, mode) in files(user_data).items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)


def main() -> None:
    """The two commands."""
    match sys.argv[1:]:
        case ["render", variables]:
            sys.stdout.write(str(render(json.loads(Path(variables).read_text()))["user_data"]))
        case ["files", user_data, folder]:
            write(Path(user_data).read_text(), Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
