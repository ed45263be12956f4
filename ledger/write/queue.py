"""The queue of commands that wait for their commit group."""

from collections import deque
from collections.abc import Sequence

from ledger.write.pending import Pending


class CommandQueue:
    """Commands in order of arrival, each with the weight that it has in a group."""

    def __init__(self) -> None:
        self._commands: deque[Pending] = deque()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._commands)

    def append(self, pending: Pending) -> None:
        """Add a command at the end."""
        self._commands.append(pending)
        self.weight += pending.weight

    def take(self, count: int, max_weight: int) -> list[Pending]:
        """Remove and return up to `count` commands that together weigh up to `max_weight`, but at least one."""
        group: list[Pending] = []
        weight = 0
        while self._commands and len(group) < count:
            weight += self._commands[0].weight
            if group and weight > max_weight:
                break
            pending = self._commands.popleft()
            self.weight -= pending.weight
            group.append(pending)
        return group

    def put_back(self, group: Sequence[Pending]) -> None:
        """Return commands to the front, in their order."""
        self._commands.extendleft(reversed(group))
        self.weight += sum(pending.weight for pending in group)

    def drop_resolved(self) -> None:
        """Remove commands that have an outcome, because they have expired."""
        self._commands = deque(pending for pending in self._commands if not pending.resolved)
        self.weight = sum(pending.weight for pending in self._commands)

    def clear(self) -> None:
        """Remove all commands."""
        self._commands.clear()
        self.weight = 0
