"""The brief as a run has it: the owner's words read again before each experiment, and prompts stored as they were told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoresearch import git
from autoresearch.brief import Renderer, Sources, Texts, Told, template_of
from autoresearch.contracts import Brief
from autoresearch.errors import DiskFault, RepositoryError, TaskError
from autoresearch.history import History
from autoresearch.ledger import MemoryLedger
from autoresearch.paths import RunPaths
from autoresearch.records import Event, RunRecord
from autoresearch.taskfile import FILE, Task
from autoresearch.taskfile.load import parse
from autoresearch.taskfile.schema import Proposer as Table

PROMPT, COUNTS = "prompt.md", "prompt.json"


class Words:
    """The owner's words on disk: instructions, `[brief]` of the task file, the template it names.

    What cannot be taken over, as a task file that is half written, leaves the ones before in place; `refused` says why, once.

    Raises (when made):
        TaskError: the template is not there, or is none.
    """

    def __init__(self, project: Path, task: Task) -> None:
        self._project, self._task = project, task
        self._now = Texts(task.instructions_text, task.brief, _template(project, task.brief.template))
        if self._now.template:
            template_of(self._now).try_out()
        self._seen = self._stamps()
        self.refused = ""

    def now(self) -> Texts:
        """The words as they are now."""
        return self._now

    def refresh(self) -> Texts:
        """Look for changes; gives the words that hold from here on."""
        seen = self._stamps()
        if seen != self._seen:
            try:
                self._now, self.refused = self._read(self._seen, seen), ""
            except (OSError, TaskError, UnicodeDecodeError) as error:
                self.refused = f"the brief stays as it was: {error}"
            self._seen = seen
        return self._now

    def _paths(self) -> list[Path]:
        names = (self._task.task.instructions, FILE, self._now.brief.template)
        return [self._project / name for name in names if name]

    def _stamps(self) -> dict[Path, tuple[int, ...]]:
        found: dict[Path, tuple[int, ...]] = {}
        for path in self._paths():
            try:
                at = path.stat()
            except OSError:
                continue
            found[path] = (at.st_mtime_ns, at.st_size, at.st_ino)
        return found

    def _read(self, before: Mapping[Path, Any], after: Mapping[Path, Any]) -> Texts:
        """Take over what changed; a file that is gone leaves its words."""
        instructions, task_file = self._project / self._task.task.instructions, self._project / FILE
        words, brief = self._now.instructions, self._now.brief
        if instructions in after and after[instructions] != before.get(instructions):
            words = instructions.read_text(encoding="utf-8", errors="replace")
        if task_file in after and after[task_file] != before.get(task_file):
            brief = parse(task_file.read_text(encoding="utf-8-sig")).brief
        found = Texts(words, brief, _template(self._project, brief.template))
        template_of(found).try_out()
        return found


def _template(project: Path, name: str) -> str:
    """The text of a task's own template, `` for ours.

    Raises:
        TaskError: it is not there, cannot be read, or is empty.
    """
    if not name:
        return ""
    try:
        text = (project / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            f"[brief] template = {json.dumps(name)} cannot be read: {error}; `autoresearch brief --eject {name}` writes one"
        ) from error
    if not text.strip():
        raise TaskError(f"{name}: the template is empty; `autoresearch brief --eject {name}` writes one to start from")
    return text


class Briefing:
    """Renders a run's prompts, and stores what proposers were told.

    Args:
        history: the run's, to know which experiments there are.
        cover: covers values that nobody may see.
    """

    def __init__(
        self,
        task: Task,
        words: Words,
        names: RunPaths,
        *,
        tables: Mapping[str, Table],
        sources: Sources,
        cover: Callable[[str], str],
        history: Callable[[], History],
    ) -> None:
        self._names, self._history, self.words = names, history, words
        self._renderer = Renderer(task, tables=tables, sources=sources, texts=words.now, cover=cover)
        self._told: dict[int, tuple[Brief, Told]] = {}
        self._lock = threading.Lock()  # a proposer may read its brief in a thread of its own

    def render(self, brief: Brief) -> Told:
        """What a proposer would be told; each brief is rendered once."""
        with self._lock:
            known = self._told.get(brief.slot)
            if known is None or known[0] is not brief:
                known = self._told[brief.slot] = brief, self._renderer.render(brief)
                self._store(brief, known[1])
        return known[1]

    def text(self, brief: Brief) -> str:
        return self.render(brief).text

    def _store(self, brief: Brief, told: Told) -> None:
        """Leave an experiment's prompt in its folder, as it was told last; of one that was not asked for nothing is left."""
        experiments = self._history().experiments
        if brief.n >= len(experiments) or experiments[brief.n].stage != "asked":
            return
        for notice in told.notices:
            brief.say(notice)
        folder = self._names.experiment(experiments[brief.n].drafted_as)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / PROMPT).write_text(told.text, encoding="utf-8")
            (folder / COUNTS).write_text(json.dumps(counts(told)), encoding="utf-8")
        except OSError as error:
            raise DiskFault(f"cannot write {folder}: {error.strerror}") from error

    def adopt(self, put: Callable[[bytes], str]) -> tuple[Mapping[str, str], str]:
        """Let the owner's words be the ones on disk; gives their hashes, and why some of them could not be taken over."""
        with self._lock:
            texts = self.words.refresh()
        refused, self.words.refused = self.words.refused, ""
        return hashes(texts, put), refused


def stand_in(folder: Path, task: Task, location: git.Location, run: RunRecord | None = None) -> History:
    """A run that has its baseline, with a number that nobody measured: for what is told before there is one.

    Args:
        run: the one that has none yet; without it one from the last commit.
    Raises:
        RepositoryError: there is no commit yet.
    """
    if run is None:
        try:
            head = git.run("rev-parse", "--verify", "HEAD^{commit}", cwd=folder).decode().strip()
        except RepositoryError:
            raise RepositoryError(f"{folder} has no commit yet: `git add` your files and `git commit` them first") from None
        run = RunRecord("new", task.task.name, task.metric.name, task.metric.direction, task.metric.unit, head)
    tree = git.run(f"--git-dir={location.git_dir}", "rev-parse", f"{run.base}^{{tree}}").decode().strip()
    known = ("task", "metric", "direction", "unit", "base", "seed", "lag", "acceptance", "python", "project")
    ledger = MemoryLedger()
    ledger.append(
        run.run,
        Event("run_started", None, {key: getattr(run, key) for key in known} | {"ruler": "", "ruler_text": {}}),
        Event("asked", 0, {"parents": [], "operation": "baseline"}),
        Event("proposed", 0, {"description": "baseline"}),
        Event("frozen", 0, {"tree": tree, "commit": run.base}),
        Event("decided", 0, {"verdict": "keep", "reason": "baseline", "words": "", "value": 0.0}),
    )
    return ledger.history(run.run)


def counts(told: Told) -> dict[str, Any]:
    """How long a prompt and its parts are, as plain data."""
    return {
        "tokens": told.tokens,
        "limit": told.limit,
        "parts": [asdict(count) for count in told.parts],
        "notices": list(told.notices),
    }


def hashes(texts: Texts, put: Callable[[bytes], str]) -> dict[str, str]:
    """The owner's words as files of the ledger, by their hashes."""
    brief = json.dumps(texts.brief.model_dump(), sort_keys=True, ensure_ascii=False)
    found = {"instructions": texts.instructions, "brief": brief, "template": texts.template}
    return {name: put(text.encode("utf-8", "surrogatepass")) for name, text in found.items() if text or name == "instructions"}
