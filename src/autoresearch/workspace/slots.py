"""The slots in which a run's candidates are evaluated: who works in which, on which set, and what it must not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import anyio

from autoresearch.contracts import Place
from autoresearch.git import Location
from autoresearch.records import Candidate, Which
from autoresearch.taskfile.scope import matches
from autoresearch.workspace.base import Base
from autoresearch.workspace.evaluation import EvaluationSlot, TreeOptions
from autoresearch.workspace.sets import Private, covering, hidden
from autoresearch.workspace.tree import remove

_SMALL = 300  # files: scanning so many takes less than a millisecond; above it layers are used where they can be


class Slots:
    """The evaluation slots of one run.

    Args:
        private: files that evaluations on one set alone are shown.
    """

    def __init__(
        self, base: Base, options: TreeOptions, *, location: Location, cache: Path, private: Mapping[Which, Private]
    ) -> None:
        self._base, self._options = base, options
        self._location, self._cache, self._private = location, cache, private
        self._slots: dict[int, EvaluationSlot] = {}
        self._secretive: set[int] = set()  # slots in which an evaluation on a private set was laid out
        self._threads: dict[int, ThreadPoolExecutor] = {}
        self._pending: dict[int, Future[None]] = {}

    async def place(
        self, slot: int, candidate: Candidate, *, pristine: bool = False, which: Which = "evaluate", clean: bool = False
    ) -> Place:
        """An evaluation tree showing the base plus the candidate's in-scope files, in this slot.

        Args:
            pristine: with empty caches, and a build that began with none.
            which: the set that is measured on: its private files are shown, and nothing of what runs there stays behind.
            clean: laid out anew from git first, with nothing in it that was there before.
        """
        secret = self._private.get(which, Private())
        if secret.outside:
            await anyio.to_thread.run_sync(secret.verify)
        if slot not in self._slots:
            self._slots[slot] = self._evaluation_slot(slot)
        here = self._slots[slot]
        if slot in self._secretive:  # it was broken off before it was left
            await self._in_thread(slot, lambda: self._forget_secrets(slot))
        if clean:
            await self._in_thread(slot, here.start_anew)
        if which != "evaluate":
            self._mark_secretive(slot)

        async def in_thread(work: Callable[[], None]) -> None:
            costly = self._options.build or self._options.copies
            if self._is_small and here.tree.built and slot not in self._pending and not costly:
                work()  # less than the way into a thread and back
            else:
                await self._in_thread(slot, work)

        overlay, pristine = self._base.overlay(candidate), pristine or which != "evaluate"
        own = {path: self._base.repository.find(self._base.tree, path) for path in sorted(secret.inside)}
        place = await here.show(candidate.tree, overlay, pristine=pristine, in_thread=in_thread, private=own)
        readonly = (*place.readonly, *secret.places, *self._out_of_reach(slot))
        private = (*secret.places, *(here.tree.root / path for path in own))
        return replace(place, readonly=readonly, hidden=self.hidden(which, slot=slot), private=private)

    def hidden(self, which: Which | None = None, *, slot: int | None = None) -> tuple[Path, ...]:
        """Outside paths that what works on a set, in an evaluation slot, must not see; None stands for a proposal."""
        others = [self._cache / f"evaluation-{i}" for i in range(self._options.slots) if i != slot] if self._private else []
        for folder in others:  # one may work on another set meanwhile
            folder.mkdir(exist_ok=True)
        stores = (self._location.git_dir, self._base.store)
        return (*hidden(self._private, which, lying=self._private_places, stores=stores), *others)

    @cached_property
    def _private_places(self) -> tuple[Path, ...]:
        """Where the base's private files lie in the user's checkout."""
        return tuple(self._location.top / path for path in covering(self._private, self._base.files))

    def _mark_secretive(self, slot: int) -> None:
        """Leave word, also for the session after a kill, that what lies in a slot is not for everybody."""
        self._secretive.add(slot)
        (self._cache / f"private-{slot}").touch()

    def _forget_secrets(self, slot: int) -> None:
        self._slots[slot].forget()
        (self._cache / f"private-{slot}").unlink(missing_ok=True)
        self._secretive.discard(slot)

    async def built(self, slot: int, candidate: Candidate, *, pristine: bool = False) -> None:
        """What was run in the slot's place last was the candidate's build, and it is good: keep what it made."""
        await self._in_thread(slot, lambda: self._slots[slot].keep_build(candidate.tree, pristine=pristine))

    def _evaluation_slot(self, slot: int) -> EvaluationSlot:
        prefix, options = self._location.prefix, self._options
        grows = bool(options.build or options.setup)  # a tree that scans itself would scan what these make
        globs = options.setup_if
        if (mark := self._cache / f"private-{slot}").exists():  # a killed session left it
            remove(self._cache / f"evaluation-{slot}")
            mark.unlink()
        return EvaluationSlot(
            self._cache / f"evaluation-{slot}",
            self._base.store,
            base_tree=self._base.tree,
            files=self._base.files,
            prefix=prefix,
            options=options,
            layered=options.layered and (grows or not self._is_small),
            is_setup_file=lambda path: path.startswith(prefix) and any(matches(path.removeprefix(prefix), g) for g in globs),
        )

    def _out_of_reach(self, slot: int) -> list[Path]:
        """Everything of ours but the slot's own: objects from which trees are made, other slots, proposals."""
        for name in ("views", *(f"evaluation-{i}" for i in range(self._options.slots))):
            (self._cache / name).mkdir(exist_ok=True)  # there to be mounted over, also before anything is in it
        return [path for path in self._cache.iterdir() if path.name != f"evaluation-{slot}"]

    def vacate(self, slot: int) -> None:
        """A program ran in this slot's tree: scan it, while the owner goes on."""
        here = self._slots.get(slot)
        if here is None:
            return
        if slot in self._secretive:
            self._pending[slot] = self._thread(slot).submit(self._forget_secrets, slot)
        elif here.layered or (self._is_small and not self._options.build):
            here.tree.distrust()
        else:
            self._pending[slot] = self._thread(slot).submit(here.tree.distrust)

    @property
    def _is_small(self) -> bool:
        return len(self._base.files) <= _SMALL

    async def _in_thread(self, slot: int, work: Callable[[], None]) -> None:
        pending = self._pending.pop(slot, None)

        def both() -> None:
            if pending is not None:
                pending.result()
            work()

        future = self._thread(slot).submit(both)
        await anyio.to_thread.run_sync(future.result)

    def _thread(self, slot: int) -> ThreadPoolExecutor:
        if slot not in self._threads:
            self._threads[slot] = ThreadPoolExecutor(1, thread_name_prefix=f"tree-{slot}")
        return self._threads[slot]

    def close(self) -> None:
        for thread in self._threads.values():
            thread.shutdown(wait=True)
        for slot in sorted(self._secretive):
            self._forget_secrets(slot)
        for here in self._slots.values():
            here.tree.close()
