"""Fixtures of the scenarios: one box for most of them, more on request.

Environment: `ROOST` (the command), `ROOST_IMAGE` (the image under test) and
`ROOST_PASSWORD` (of alice, the account in the image). With `ROOST_KERNEL_LOGS` (a file) the
kernel's logs of the boxes that run to the end of a scenario are kept (scripts/record-syscalls).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

# What helpers assert is told as fully as what scenarios do; said before they are imported.
pytest.register_assert_rewrite(*(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem != "conftest"))

import syscalls  # noqa: E402
from clients import Account, Clients  # noqa: E402
from machine import Machine, MachineError  # noqa: E402

#: Machines that may still run, for the report of a failure.
MACHINES: pytest.StashKey[list[Machine]] = pytest.StashKey()
#: The size of the shared box's card: larger than the image, so that the data partition has to grow.
CARD_BYTES = 1 << 30
CARD_OPTION = "1GiB"
#: Files that take minutes, the longest first; begun last, one of them would run on alone.
LONGEST = (
    "test_update_pi.py", "test_update_store_format.py", "test_journey.py", "test_doctor.py", "test_factory_reset.py",
    "test_power_cuts.py", "test_backup_usb.py", "test_update_mail_not_delivering.py", "test_update_disk_full.py",
    "test_update.py", "test_two_boxes.py",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """What is tested."""

    roost: Path
    image: Path
    account: Account


@dataclass(frozen=True)
class Box:
    """A running box and the clients that talk to it."""

    machine: Machine
    clients: Clients

    @property
    def account(self) -> Account:
        """The account on the box."""
        return self.clients.account


Boot = Callable[..., Machine]


def pytest_configure(config: pytest.Config) -> None:
    """Prepares the list of machines."""
    config.stash[MACHINES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has the longest files begin first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds console and mail log of every running machine to a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for machine in item.config.stash[MACHINES]:
            report.sections.append((f"roost run of {machine.name}", machine.said()))
            report.sections.append((f"console of {machine.name}", machine.console_tail()))
            if machine.running:
                report.sections.append((f"mail log of {machine.name}", machine.mail_log()))
                try:
                    resolver = "\n".join(machine.logs("resolver"))
                except (OSError, MachineError) as error:
                    resolver = str(error)
                report.sections.append((f"resolver log of {machine.name}", resolver))


@pytest.fixture(scope="session")
def subject() -> Subject:
    """The image under test, from the environment."""
    missing = [name for name in ("ROOST", "ROOST_IMAGE", "ROOST_PASSWORD") if not os.environ.get(name)]
    if missing:
        pytest.exit(f"not in the environment: {', '.join(missing)}; scripts/test sets them", 2)
    return Subject(
        roost=Path(os.environ["ROOST"]),
        image=Path(os.environ["ROOST_IMAGE"]),
        account=Account("alice", os.environ["ROOST_PASSWORD"], "example.org", "mail.example.org"),
    )


def keep_kernel_log(machine: Machine) -> None:
    """Adds it to the file that was asked for, if the box still runs and answers."""
    keep = os.environ.get("ROOST_KERNEL_LOGS")
    if keep and machine.running:
        with suppress(OSError, MachineError), Path(keep).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in machine.logs("kernel", 5000))


@contextmanager
def machine_room(subject: Subject, config: pytest.Config) -> Iterator[Boot]:
    """Gives a function that starts machines; cuts the power of all at the end, and throws their cards away."""
    machines = config.stash[MACHINES]
    own: list[Machine] = []

    # One processor: to emulate two costs a third more, and on a busy host each waits for the other's locks.
    def boot(
        state: Path, *, machine: str = "virt", cpus: int = 1, options: tuple[str, ...] = (), image: Path = subject.image
    ) -> Machine:
        started = Machine(subject.roost, image, state, machine=machine, options=("--cpus", str(cpus), *options))
        own.append(started)
        machines.append(started)
        return started

    try:
        yield boot
    finally:
        for machine in own:
            keep_kernel_log(machine)
            machine.power_cut()
            machines.remove(machine)
            for card in machine.state.glob("*.card"):
                card.unlink()


@pytest.fixture
def boot(subject: Subject, pytestconfig: pytest.Config) -> Iterator[Boot]:
    """Starts a machine of a scenario's own: `boot(state_folder)`."""
    with machine_room(subject, pytestconfig) as start:
        yield start


@pytest.fixture(scope="session")
def workshop(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> "Workshop":
    """Where releases for the update scenarios are made."""
    # Only here, because it needs `Subject`.
    from updates import Workshop

    return Workshop(subject, tmp_path_factory.mktemp("workshop") / "w")


@pytest.fixture(scope="session")
def refusals(
    subject: Subject, pytestconfig: pytest.Config, workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Refusals"]:
    """The box that the scenarios of refused bundles share."""
    from updates import Refusals

    with machine_room(subject, pytestconfig) as start:
        yield Refusals(workshop, start, tmp_path_factory.mktemp("refusals") / "box")


@pytest.fixture(scope="session")
def box(
    subject: Subject, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """The box that the scenarios share. Whoever reads it must leave it working."""
    folder = tmp_path_factory.mktemp("box")
    with machine_room(subject, pytestconfig) as start:
        # Most of what many clients do at once is done to this one.
        machine = start(folder, cpus=2, options=("--disk-size", CARD_OPTION, "--lan"))
        machine.wait_ready()
        yield Box(machine, Clients(machine.forwards, subject.account, folder))
        if not os.environ.get("ROOST_KERNEL_LOGS"):
            # Whatever the scenarios asked for, no service needed a call that is not on its list.
            assert syscalls.refused(machine.logs("kernel", 5000)) == []


@pytest.fixture
def clients(box: Box) -> Clients:
    """Clients of the shared box."""
    return box.clients


@pytest.fixture
def account(box: Box) -> Account:
    """The account on the shared box."""
    return box.account
