"""Stages on several machines: the workers of a Dask scheduler, each in a clone of its own, a DVC remote between them.

Plain `distributed` and not prefect-dask: that one runs Prefect's tasks on the workers, so that each would have to reach
the Prefect server, which is often a temporary one on the loopback, and a worker's death would end the task. Here the
tasks and their logs stay with the flow, and a worker only gets an order for one stage (`pipeline.flow.remote_stage`).
"""

from __future__ import annotations

import queue
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from pipeline.core.sections import read_values
from pipeline.flow.children import Children, Outcome, StageFailedError
from pipeline.flow.engines import Log, Run
from pipeline.flow.graph import PREPARE, Stage, open_workspace
from pipeline.flow.held_workspace import holder_file
from pipeline.flow.records import append_record
from pipeline.flow.remote_stage import LOCK, PARAMETERS, Answer, Order, check_clone, code_of, exchange, run_order
from pipeline.flow.schedule import ready
from pipeline.flow.server import without_password
from pipeline.flow.states import stage_states

if TYPE_CHECKING:
    from distributed import Client

_JOIN = "start one in each clone: `uv run dask worker ADDRESS --nthreads 1 --resources CPU=1` (or GPU=1)"
_WAIT = 30.0  # seconds for a first worker
_LOOK = 5.0  # seconds between two looks at whether there is a worker


class DaskWorkers:
    """An `Engine`: each stage on a worker of a Dask scheduler, as many at once as there are.

    Here run: `prepare`, stages whose outputs DVC's cache does not hold (`report`), and those of which it has the result
    of an earlier run.

    Args:
        root: The workspace; its commit is the one that the workers' clones must have.
        stages: Those that run, each after those that it reads from.
        cores: Processor cores of this machine.
        address: Of the scheduler: tcp://host:8786.
        warn: Called with what a user should know.

    Raises:
        InputError: The extra is not installed, no scheduler answers, no worker joins, clones differ in their code,
            kinds of machines would choose precisions of their own, or there is no DVC remote.
    """

    def __init__(
        self,
        root: Path,
        stages: Mapping[str, Stage],
        cores: Sequence[int],
        *,
        address: str,
        warn: Callable[[str], Any],
    ) -> None:
        self._root, self._stages, self._cores, self._warn = root, stages, cores, warn
        self._commit = code_of(root, str(root))
        holder = holder_file(root)
        self._holder = holder.read_text(encoding="utf-8") if holder.is_file() else ""
        self._kind = ""  # of machine that alone may run stages; any, where no setting is left to the machine
        check_remote(root)
        self._client = connect(address)
        try:
            self._check_clones()
            states = stage_states(root)[1]
        except BaseException:
            self._client.close()
            raise
        self._here = {
            name
            for name, stage in stages.items()
            if name == PREPARE or not stage.kept or states[name] in ("restored", "up to date")
        }
        self._address = without_password(address)
        self._children = Children(root)
        self._alone = threading.Lock()  # one stage at a time has this machine's cores
        self._exchange = threading.Lock()  # over what is sent and fetched, and over dvc.lock
        self._sent: set[str] = set()  # stages whose outputs the remote has
        self._away: set[str] = set()  # of these, the ones whose outputs are not here
        self._running: set[str] = set()
        self.waiting = dict(stages)

    def begin(self) -> Iterator[tuple[str, Run]]:
        """As in `Engine`."""
        for name in ready(self._stages, self.waiting, self._running):
            self._running.add(name)
            del self.waiting[name]
            yield name, partial(self._run, name)

    def end(self, name: str) -> None:
        """As in `Engine`."""
        self._running.discard(name)

    def finish(self) -> None:
        """As in `Engine`.

        Raises:
            InputError: What the workers made could not be fetched.
        """
        try:
            with self._exchange:
                self._fetch(set(self._away), log=lambda _: None)
        except StageFailedError as error:
            why = f"has what the workers made, and it could not be fetched: {error}"
            raise InputError(Problem("the DVC remote", why, "run `dvc pull` when it can be reached")) from error

    def stop(self) -> None:
        """As in `Engine`."""
        self._children.stop()
        self._client.close()  # gives up every order, and the workers see it

    def _run(self, name: str, *, log: Log) -> Outcome:
        stage = self._stages[name]
        if name in self._here:
            with self._alone:
                with self._exchange:
                    self._fetch(self._away & stage.upstream, log)
                return self._children.run(name, cores=self._cores, log=log)
        with self._exchange:
            missing = sorted(stage.upstream - self._sent)
            if missing:
                exchange(self._children, name, "push", *missing, log=log)
                self._sent |= set(missing)
        answer = self._order(stage, log)
        if answer.outcome is None:
            raise StageFailedError(f"{answer.place}: {answer.error}", transient=answer.transient)
        with self._exchange:
            write_lock_entry(self._root, name, answer.entry)
            self._sent.add(name)
            self._away.add(name)
        for path, text in answer.files.items():
            atomic_write_text(self._root / path, text)
        if answer.record is not None:
            append_record(self._root, answer.record)
        return answer.outcome

    def _fetch(self, names: set[str], log: Log) -> None:
        if names:
            exchange(self._children, "results", "pull", *sorted(names), log=log)
            self._away -= names

    def _order(self, stage: Stage, log: Log) -> Answer:
        """Has a stage run by a worker, and passes on what it prints."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        key = f"{stage.name}-{uuid.uuid4().hex}"
        order = Order(
            stage=stage.name,
            upstream=tuple(sorted(stage.upstream)),
            commit=self._commit,
            parameters=(self._root / PARAMETERS).read_text(encoding="utf-8"),
            lock=(self._root / LOCK).read_text(encoding="utf-8"),
            key=key,
            kind=self._kind,
            holder=self._holder,
        )
        resource = "GPU" if stage.gpu and self._offered("GPU") else "CPU"
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        lost = f"{stage.name} was given up: {self._address} is lost"
        try:
            self._client.subscribe_topic(key, lambda event: lines.put(str(event[1])))
            future = self._client.submit(run_order, order, key=key, resources={resource: 1}, pure=False)
            future.add_done_callback(lambda _: lines.put(None))
            self._listen(stage.name, resource, lines, log)
            self._client.unsubscribe_topic(key)
            return future.result(timeout=_LOOK)
        except KilledWorker as error:
            raise StageFailedError(f"{stage.name}: worker after worker died with it", transient=True) from error
        except (CancelledError, CommClosedError, TimeoutError) as error:
            raise StageFailedError(lost, transient=False) from error
        except Exception as error:  # the worker could not even read the order, or failed in an unknown way
            if isinstance(error, ValueError) and self._client.status != "running":  # Dask's word for a closed client
                raise StageFailedError(lost, transient=False) from error
            why = f"{stage.name}: a worker failed: {type(error).__name__}: {error}"
            raise StageFailedError(why, transient=False) from error

    def _listen(self, name: str, resource: str, lines: queue.SimpleQueue[str | None], log: Log) -> None:
        """Logs lines until None comes; where no worker could take the stage, it says so once."""
        warned = False
        while True:
            try:
                line = lines.get(timeout=_LOOK)
            except queue.Empty:
                if not warned and not self._offered(resource):
                    self._warn(f"{name} waits: no worker offers {resource}=1; {_JOIN}")
                    warned = True
                continue
            if line is None:
                break
            log(line)
        with suppress(queue.Empty):  # what was under way
            while (line := lines.get(timeout=0.2)) is not None:
                log(line)

    def _offered(self, resource: str) -> bool:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return any(worker["resources"].get(resource, 0) >= 1 for worker in workers)

    def _check_clones(self) -> None:
        """Refuses to begin where a worker could not run a stage, for each would fail in its turn, or not as others do.

        Raises:
            InputError: A worker is in no clone, in the flow's own, or in one with other code; or arms would be trained
                unlike.
        """
        found = self._client.run(check_clone, self._commit, self._holder, on_error="return")
        problems, kinds = [], set()
        for worker, answer in found.items():
            if isinstance(answer, BaseException):
                problems.append(Problem(worker, f"can't be asked: {type(answer).__name__}: {answer}", _JOIN))
                continue
            problem, kind = answer
            kinds.add(kind)
            if problem is not None:
                problems.append(problem)
        chosen = keys_of(read_values(self._root / PARAMETERS), "precision", "auto")
        if len(kinds) > 1 and chosen:
            why = f"is auto, which each kind of machine chooses for itself, and workers are of {len(kinds)} kinds"
            fix = f"arms must be trained alike: set it to float32; kinds: {'; '.join(sorted(kinds))}"
            problems.append(Problem(f"{PARAMETERS}: {', '.join(chosen)}", why, fix))
        if problems:
            raise InputError(problems, "Dask workers")
        self._kind = next(iter(kinds), "") if chosen else ""


def keys_of(values: Mapping[str, Any], last: str, value: Any) -> list[str]:
    """Dotted keys whose last part and value are given, in nested mappings."""
    found = []
    for key, inner in values.items():
        if isinstance(inner, Mapping):
            found += [f"{key}.{other}" for other in keys_of(inner, last, value)]
        elif key == last and inner == value:
            found.append(key)
    return found


def connect(address: str) -> Client:
    """A client of a Dask scheduler that has a worker.

    Args:
        address: tcp://host:8786, or tls:// with Dask's own settings for certificates.

    Raises:
        InputError: The extra is not installed, no scheduler answers, or no worker joins within half a minute.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise InputError(Problem("--engine dask", "needs the extra `dask`", "uv sync --extra dask")) from error
    try:
        client = Client(address, timeout=10, set_as_default=False, name="synthesize-to-learn")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(_unanswered(address, str(error) or type(error).__name__)) from error
    try:
        client.wait_for_workers(1, timeout=_WAIT)
    except TimeoutError as error:
        client.close()
        raise InputError(Problem(_shown(address), f"no worker joined in {_WAIT:.0f} s", _JOIN)) from error
    return client


def check_address(engine: str, address: str | None) -> None:
    """Refuses an address that is missing, not wanted or malformed, or at which nothing listens; before any work.

    Args:
        engine: `local` or `dask`.
        address: Of the Dask scheduler.

    Raises:
        InputError: Says what is wrong.
    """
    if engine == "local":
        if address:
            raise InputError(
                Problem("--address", "names a Dask scheduler, which only `--engine dask` uses", "give both")
            )
        return
    form = "give the Dask scheduler's: tcp://host:8786"
    if not address:
        raise InputError(Problem("--address", "is missing", form))
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:  # brackets that don't close, a port that is no number
        scheme, host, port = "", None, None
    if not scheme or not host or not port:
        raise InputError(Problem(_shown(address), "is no address of a Dask scheduler", form))
    try:
        socket.create_connection((host, port), timeout=_WAIT).close()
    except OSError as error:
        raise InputError(_unanswered(address, error.strerror or str(error))) from error


def _unanswered(address: str, why: str) -> Problem:
    return Problem(_shown(address), f"no Dask scheduler answers there: {why}", "start it: `uv run dask scheduler`")


def _shown(address: str) -> str:
    """The address as errors name it."""
    try:
        return f"--address {without_password(address)}"
    except ValueError:  # what can't be taken apart may hold a password anywhere
        return "--address"


def check_remote(root: Path) -> None:
    """Refuses a workspace without a DVC remote, by which results come from one clone to another.

    Raises:
        InputError: It has none.
    """
    with open_workspace(root) as repository:
        if not repository.config["core"].get("remote"):
            fix = "here and in every clone: `dvc remote add --default storage URL` (a path, ssh://, s3://)"
            raise InputError(Problem(str(root), "has no DVC remote, by which its workers could get faces", fix))


def write_lock_entry(root: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Puts a stage's entry into dvc.lock, as DVC does after it has run a stage here.

    Args:
        root: The workspace.
        name: Of the stage.
        entry: As `pipeline.flow.remote_stage.lock_entry` read it.
    """
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    file = root / LOCK
    with open_workspace(root) as repository, repository.lock:
        text = file.read_text(encoding="utf-8") if file.exists() else "schema: '2.0'\n"
        values = parse_yaml_for_update(text, str(file))
        values.setdefault("stages", {})[name] = dict(entry)
        atomic_write_text(file, dumps_yaml(values))
