"""One step of training as one compiled function: forward, backward, optimizer, averages.

On several devices the step sees the whole batch. The images are sharded over a mesh (see `devices`), and the
compiler splits the work. Loss, gradients and batch norm's statistics come from the global batch (torch:
SyncBatchNorm).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fcn_jax.errors import SettingError
from fcn_jax.training.objective import Batch, Objective
from fcn_jax.training.state import TrainState

TrainStep = Callable[[TrainState, Batch, int], tuple[TrainState, dict[str, jax.Array]]]
"""(state, batch, number) -> (state, metrics)."""


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    average_decay: float | None = None,
    accumulate: int = 1,
    shardings: TrainState | None = None,
) -> TrainStep:
    """Makes the compiled step (state, batch, number) -> (state, metrics). A step donates its state.

    A step changes nothing if `number` is not `state.step`, or if the loss or a gradient is not finite. Then
    metrics["applied"] is false, and the state remains the last good one. Later steps that are already under
    way do not change it either.

    metrics: scalars "loss", "lr", "gradient_norm", "applied".

    Args:
      objective: the loss.
      optimizer: its learning rate is `schedule`'s.
      average_decay: decay of the moving averages, if the state has any; at step t at most (1 + t) / (10 + t).
      accumulate: number of parts of a batch, computed one after another to save memory. The loss is the
        whole batch's; batch norm sees one part at a time.
      shardings: of the state, on a mesh.

    Raises (when called):
      SettingError: `accumulate` does not divide the batch.
    """
    differentiate = jax.value_and_grad(objective, has_aux=True)

    update = partial(_update, optimizer=optimizer, schedule=schedule, average_decay=average_decay)
    placed: dict[str, Any] = {} if shardings is None else {"out_shardings": (shardings, None)}
    if accumulate > 1:
        return _step_in_parts(objective, accumulate, jax.jit(update, donate_argnums=0, **placed))

    def step(state: TrainState, batch: Batch, number: jax.Array | int) -> Any:
        denominator = objective.denominator(state.params, batch["labels"])
        (loss, (rest, _)), gradients = differentiate(state.params, state.rest, batch, denominator)
        return update(state, loss, rest, gradients, number)

    return jax.jit(step, donate_argnums=0, **placed)


def _update(
    state: TrainState,
    loss: Any,
    rest: Any,
    gradients: Any,
    number: Any,
    *,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    average_decay: float | None,
) -> Any:
    """Returns the state, new or unchanged, and the metrics."""
    norm = optax.tree.norm(gradients)
    updates, moments = optimizer.update(gradients, state.moments, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    average: Any = state.average
    if average:
        assert average_decay is not None
        decay = jnp.minimum(average_decay, (1 + state.step) / (10 + state.step))
        now = {name: (params | rest)[name] for name in average}
        average = optax.incremental_update(now, average, 1 - decay)
    applied = jnp.isfinite(loss) & jnp.isfinite(norm) & (state.step == number)
    new = TrainState(state.step + 1, params, rest, moments, average)
    new = jax.tree.map(lambda new, old: jnp.where(applied, new, old), new, state)
    return new, {"loss": loss, "lr": schedule(state.step), "gradient_norm": norm, "applied": applied}


def _step_in_parts(objective: Objective, count: int, finish: Callable[..., Any]) -> TrainStep:
    """Makes a step that computes a batch in `count` parts."""
    differentiate = jax.value_and_grad(objective, has_aux=True)

    # Several calls rather than one call with a loop: on a CPU, XLA runs convolutions in a loop some forty
    # times slower. An unrolled loop would hold all parts in memory at once.
    @jax.jit
    def prepare(state: TrainState, batch: Batch):
        parts = split_batch(batch, count)
        denominator = objective.denominator(state.params, batch["labels"])
        rest = jax.tree.map(jnp.copy, state.rest)  # add_part donates the sums, but not the state
        loss = jnp.zeros_like(jax.tree.leaves(denominator)[0])
        sums = loss, rest, jax.tree.map(jnp.zeros_like, state.params)
        return parts, denominator, sums

    @partial(jax.jit, donate_argnames="sums")
    def add_part(params, sums, part, denominator):
        loss, rest, gradients = sums
        (part_loss, (rest, _)), part_gradients = differentiate(params, rest, part, denominator)
        return loss + part_loss, rest, jax.tree.map(jnp.add, gradients, part_gradients)

    def step_in_parts(state: TrainState, batch: Batch, number: jax.Array | int) -> Any:
        parts, denominator, sums = prepare(state, batch)
        for part in parts:
            sums = add_part(state.params, sums, part, denominator)
        return finish(state, *sums, number)

    return step_in_parts


def split_batch(batch: Batch, count: int) -> list[Batch]:
    """Splits a batch into parts of every count-th image, so that each device has its share of each part.

    Raises:
      SettingError: `count` does not divide the batch.
    """
    for values in batch.values():
        if values.shape[0] % count:
            raise SettingError(
                expected=f"a batch that divides into {count} equal parts",
                got=f"{values.shape[0]} images",
                hint="choose another {batch_size} or {accumulate}",
            )
    return [jax.tree.map(lambda values, k=k: values[k::count], batch) for k in range(count)]
