"""One step of training as one compiled function: forward, backward, optimizer, averages.

On several devices the step sees the whole batch: with images sharded over a mesh (see `devices`) the
compiler splits the work, and the loss, the gradients and batch norm's statistics are those of the global
batch (torch: SyncBatchNorm).
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
    """Makes the compiled step (state, batch, number) -> (state, metrics). The state given is used up.

    The step does nothing unless `number` is `state.step`, and nothing if the loss or a gradient is not
    finite: then metrics["applied"] is false, the state is still the last good one, and so it stays however
    many steps are already under way.

    metrics: scalars "loss", "lr", "gradient_norm", "applied".

    Args:
      objective: the loss.
      optimizer: its learning rate is `schedule`'s.
      average_decay: of the moving averages, where the state has them; at step t at most (1 + t) / (10 + t).
      accumulate: parts that the batch goes through the model in, one after another, to save memory. The loss
        is that of the whole batch; batch norm sees the parts.
      shardings: of the state, on a mesh.

    Raises (when called):
      SettingError: a batch that `accumulate` does not divide.
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
    """Makes the new state, or leaves the old one, and the metrics."""
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
    """Makes a step of a batch that goes through the model in so many parts."""
    differentiate = jax.value_and_grad(objective, has_aux=True)

    # Several calls rather than a loop inside one: XLA's loops on a CPU run convolutions some forty times
    # slower, and parts written out one after another would all be held in memory at once.
    @jax.jit
    def prepare(state: TrainState, batch: Batch):
        parts = split_batch(batch, count)
        denominator = objective.denominator(state.params, batch["labels"])
        rest = jax.tree.map(jnp.copy, state.rest)  # the sums are given up part by part, the state is not
        sums = jnp.zeros_like(denominator), rest, jax.tree.map(jnp.zeros_like, state.params)
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
      SettingError: a batch that does not divide.
    """
    for values in batch.values():
        if values.shape[0] % count:
            raise SettingError(
                expected=f"a batch that divides into {count} equal parts",
                got=f"{values.shape[0]} images",
                hint="choose another {batch_size} or {accumulate}",
            )
    return [jax.tree.map(lambda values, k=k: values[k::count], batch) for k in range(count)]
