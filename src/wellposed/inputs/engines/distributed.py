"""torch.distributed: every rank has fitted its own rows; one all-gather makes the state of all of them."""

from __future__ import annotations

from typing import Any

from wellposed.errors import InputError
from wellposed.inputs.state import State, merged


def gathered(own: State, group: Any = None) -> State:
    """The state of all ranks of the group, the same bits on each. Raises `InputError` where no process group is there."""
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        raise InputError("there is no process group", hint="torch.distributed.init_process_group first, or start with torchrun")
    found: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(found, own.to_dict(), group=group)
    return merged(map(State.from_dict, found))
