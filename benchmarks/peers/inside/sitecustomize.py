"""Notes what a training is made with and when each update began and ended, in the file $XTUNER_STUDIO_SEEN.

Changes nothing else. Python imports it at its start wherever this directory is in PYTHONPATH: both peers train with
transformers' Trainer, we with mmengine's runner. Runs in the peers' environments, so it imports nothing of this project.
"""

import importlib.util
import json
import os
import sys
import time


class Finder:
    """Adds what watches a trainer as soon as the trainer's module is imported."""

    def __init__(self, watches: dict) -> None:
        self.watches = watches

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:  # noqa: ARG002
        watch = self.watches.pop(name, None)
        if watch is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def executed(module: object) -> None:
            execute(module)
            watch(module)

        spec.loader.exec_module = executed
        return spec


def watch_transformers(module: object) -> None:
    """Add a callback to every Trainer."""

    class Seen(module.TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, **more) -> None:  # noqa: ANN001, ANN003, ARG002
            note(
                **of_model(model),
                batch=args.per_device_train_batch_size,
                accumulated=args.gradient_accumulation_steps,
                rate=args.learning_rate,
                updates=state.max_steps,
            )

        def on_step_begin(self, args, state, control, **more) -> None:  # noqa: ANN001, ANN003, ARG002
            note(begins=state.global_step + 1)

        def on_step_end(self, args, state, control, **more) -> None:  # noqa: ANN001, ANN003, ARG002
            note(update=state.global_step)

    begin = module.Trainer.__init__

    def begun(self: object, *given: object, **named: object) -> None:
        begin(self, *given, **named)
        self.add_callback(Seen())

    module.Trainer.__init__ = begun


def watch_mmengine(module: object) -> None:
    """Wrap the hook that times iterations: what is noted as updates are those, `iterations_an_update` of them each."""
    hook = module.IterTimerHook
    before, after, start = hook._before_iter, hook._after_iter, hook.before_train

    def before_train(self: object, runner: object) -> None:
        start(self, runner)
        note(
            **of_model(runner.model),
            batch=runner.train_dataloader.batch_size,
            accumulated=runner.optim_wrapper._accumulative_counts,
            iterations_an_update=runner.optim_wrapper._accumulative_counts,
            rate=max(group.get("initial_lr", group["lr"]) for group in runner.optim_wrapper.param_groups),
            updates=runner.max_iters,
        )

    def before_iter(self: object, runner: object, *given: object, **named: object) -> None:
        before(self, runner, *given, **named)
        note(begins=runner.iter + 1)

    def after_iter(self: object, runner: object, *given: object, **named: object) -> None:
        note(update=runner.iter + 1)
        after(self, runner, *given, **named)

    hook.before_train, hook._before_iter, hook._after_iter = before_train, before_iter, after_iter


def of_model(model: object) -> dict:
    """Return the precision, attention and recomputation of a model with an adapter."""
    import torch

    parameters, modules = list(model.parameters()), list(model.modules())
    # Autocast is on only within a model's own forward.
    note_autocast(torch, next(one for one in modules if isinstance(one, torch.nn.Linear)))
    attentions = {getattr(getattr(one, "config", None), "_attn_implementation", None) for one in modules}
    return {
        "weights": said(one.dtype for one in parameters if not one.requires_grad),
        "adapter": said(one.dtype for one in parameters if one.requires_grad),
        "trained": sum(one.numel() for one in parameters if one.requires_grad),
        "attention": said(attentions - {None}),
        "recomputed": any(getattr(one, "gradient_checkpointing", False) for one in modules),
        "threads": torch.get_num_threads(),
    }


def note_autocast(torch: object, layer: object) -> None:
    """Note the precision of the products in the first forward pass."""

    def noted(*_: object) -> None:
        hook.remove()
        kind = layer.weight.device.type
        on = torch.is_autocast_enabled(kind)
        note(autocast=said([torch.get_autocast_dtype(kind)]) if on else None)

    hook = layer.register_forward_pre_hook(noted)


def said(values: object) -> str:
    return ", ".join(sorted({str(one).replace("torch.", "") for one in values}))


def note(**what: object) -> None:
    line = {"at": time.monotonic(), "cpu": time.process_time(), **what}
    with open(os.environ["XTUNER_STUDIO_SEEN"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if os.environ.get("XTUNER_STUDIO_SEEN"):
    watched = {"transformers.trainer": watch_transformers, "mmengine.hooks.iter_timer_hook": watch_mmengine}
    sys.meta_path.insert(0, Finder(watched))
