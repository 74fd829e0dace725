"""The parts of a run: its folder, data, model, loss, optimizer and compiled step."""

import contextlib

import jax
from flax import nnx

from fcn_jax.algorithms.choice import choose_for_training
from fcn_jax.backend import start_backend
from fcn_jax.datasets import Binary, DatasetError, SegmentationDataset
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.statistics import measure_statistics
from fcn_jax.errors import FCNError
from fcn_jax.models import SegmentationModel
from fcn_jax.models.arrays import Structure
from fcn_jax.training.config import Config
from fcn_jax.training.devices import agreed, check_batch_size, make_mesh, place_state, state_shardings
from fcn_jax.training.evaluations import Evaluations
from fcn_jax.training.freezing import frozen_names, hold_statistics
from fcn_jax.training.objective import Objective
from fcn_jax.training.output import OutputError, RunFolder
from fcn_jax.training.resume import check_folder
from fcn_jax.training.setup import (
    build_augmentation,
    build_objective,
    build_optimizer,
    build_sampler,
    build_start,
    check_data,
    check_same_classes,
    open_train_set,
    open_val_set,
)
from fcn_jax.training.state import TrainState, create_state
from fcn_jax.training.step import TrainStep, make_train_step


class Parts:
    """The parts of a run. Each method makes some of them; call the methods in the order below.

    Args:
      config: the settings.
      train_set, val_set: datasets to train and to evaluate on; opened from the settings if not given.

    Attributes:
      config, train_set, val_set: as given, or as opened.
      host, hosts: the number of this host, and how many there are.
      folder: where the run writes.
      input: the batches of the training set.
      steps: how many steps the run makes.
      mesh: the devices.
      model: in evaluation mode; a run fills it with weights to evaluate.
      evaluations: scores the model.
      objective: the loss.
      train_step: the compiled step.
      state: the arrays that the step changes.
    """

    host: int
    hosts: int
    folder: RunFolder
    train_set: SegmentationDataset
    val_set: SegmentationDataset
    input: Batches
    steps: int
    mesh: jax.sharding.Mesh
    model: SegmentationModel
    evaluations: Evaluations
    objective: Objective
    train_step: TrainStep
    state: TrainState

    def __init__(
        self, config: Config, train_set: SegmentationDataset | None, val_set: SegmentationDataset | None
    ):
        self.config = config
        self._given = train_set, val_set
        self._open = contextlib.ExitStack()

    def open_folder(self) -> None:
        """Joins the other hosts, if there are any, and takes the output folder for this run alone.

        Raises:
          BackendError: JAX cannot start.
          OutputError: another run is using the folder, or the folder cannot be made.
          SettingError: the folder holds another run.
        """
        config = self.config
        if config.distributed or config.coordinator:
            jax.distributed.initialize(config.coordinator, config.processes, config.process)
        start_backend()
        self.host, self.hosts = jax.process_index(), jax.process_count()
        self.folder = RunFolder(config.output)
        refused: FCNError | None = None
        if self.host == 0:
            try:
                self._open.enter_context(self.folder.locked())
                check_folder(config, self.folder)
            except FCNError as error:
                refused = error
        if agreed(refused is not None):  # so that no host waits for the first
            raise refused or OutputError("the first host cannot use this folder and says why", config.output)

    def open_data(self) -> None:
        """Opens the datasets to train and to evaluate on, and makes the batches.

        Raises:
          DatasetError: a dataset cannot be opened, their classes differ, or a look at the files finds faults.
          SettingError: the hosts cannot share a batch evenly.
        """
        config = self.config
        train_set, val_set = self._given
        self.train_set = open_train_set(config) if train_set is None else train_set
        self.val_set = open_val_set(config) if val_set is None else val_set
        check_same_classes(self.train_set, self.val_set)
        if config.check_data:
            self._check_data()
        if config.foreground:
            self.train_set = Binary(self.train_set, config.foreground)
            self.val_set = Binary(self.val_set, config.foreground)
        self.input = Batches(
            self.train_set,
            batch_size=config.batch_size,
            seed=config.seed,
            augmentation=build_augmentation(config),
            with_replacement=config.with_replacement,
            channels=config.in_channels,
            sampler=build_sampler(config, self.train_set),
            share=(self.host, self.hosts),
        )
        self.steps = config.steps or max(1, int(config.epochs * len(self.train_set) / config.batch_size))

    def _check_data(self) -> None:
        refused: FCNError | None = None
        if self.host == 0:
            try:
                check_data(self.train_set, self.val_set)
            except FCNError as error:
                refused = error
        if agreed(refused is not None):  # so that no host waits for the first
            raise refused or DatasetError("the data have faults, which the first host lists")

    def build_model(self) -> None:
        """Builds the model and its evaluations.

        Raises:
          DatasetError: channels differ, see `measure_statistics`.
          SettingError, CheckpointError: see `setup.build_start`.
        """
        self.mesh = make_mesh(self.config.devices)
        check_batch_size(self.config.batch_size, self.mesh, self.config.accumulate)
        statistics = None if self.config.in_channels is None else measure_statistics(self.train_set)
        self._start = build_start(self.config, self.train_set.categories, self.train_set.palette, statistics)
        self.model = self._start.model
        share = (self.host, self.hosts)
        self.evaluations = Evaluations(
            self.model, self.val_set, self.config, self.folder, share, list(self.mesh.local_devices)
        )

    def build_step(self) -> None:
        """Makes the loss, the optimizer, the compiled step, and the state that it changes, on all devices.

        Raises:
          SettingError: settings that contradict each other.
        """
        config = self.config
        trained = nnx.clone(self.model)  # self.model stays in the form for evaluation and saving
        choose_for_training(trained, jax.default_backend())
        trained.train()
        frozen = frozen_names(trained, config.freeze, self._start.loaded)
        hold_statistics(trained, frozen)
        structure = Structure(trained, frozen)
        self.objective = build_objective(config, structure, self.model, self.train_set)
        schedule, optimizer = build_optimizer(config, structure.param_paths, self.steps)
        state = create_state(trained, optimizer, structure=structure, average=config.average is not None)
        shardings = state_shardings(state, self.mesh, config.sharding)
        self.state = place_state(state, shardings)
        self.train_step = make_train_step(
            self.objective,
            optimizer,
            schedule,
            average_decay=config.average,
            accumulate=config.accumulate,
            shardings=shardings,
        )
