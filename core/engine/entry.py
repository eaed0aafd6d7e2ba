"""Trains: XTuner's own `xtuner.tools.train`, started so that it works here and can be watched and stopped.

Runs in the engine's interpreter as `python -m core.engine.entry CONFIG [xtuner train's options]`; imported by
nobody. Adds to XTuner: what it lacks on a machine without a GPU, a progress file, and "finish the step, save,
exit" when asked to stop. Changes no file of XTuner and nothing of what is trained.
"""

import json
import os
import sys
import time

import torch

PROGRESS = os.environ.get("XTUNER_STUDIO_PROGRESS")
STOP = os.environ.get("XTUNER_STUDIO_STOP")


def tell(**facts: object) -> None:
    """Replace the progress file by `facts`: `note`, and once training `iter`, `max_iters`, `done`, `eta_s`."""
    if PROGRESS and os.environ.get("RANK", "0") == "0":
        partial = f"{PROGRESS}.{os.getpid()}.partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        os.replace(partial, PROGRESS)


def cuda_memory() -> "dict[str, int] | None":
    """GPU memory in MB as this process sees it: of a sliced card, the slice. None without a GPU."""
    if not torch.cuda.is_available():
        return None
    device = torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info(device)
    return {
        "index": device,
        "used_mb": (total - free) >> 20,
        "total_mb": total >> 20,
        "reserved_mb": torch.cuda.memory_reserved(device) >> 20,
        "peak_mb": torch.cuda.max_memory_reserved(device) >> 20,
    }


def make_cpu_work() -> None:
    """Give XTuner 0.2.0 what it asks of torch on a machine without CUDA, where torch 2.5 does not have it."""
    if torch.cuda.is_available():
        return
    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: False
    # mmengine picks a card for every rank, also with the gloo backend.
    torch.cuda.set_device = lambda _device: None


def watch_runners() -> None:
    """Let every runner that trains carry our hook."""
    from mmengine.hooks import CheckpointHook, Hook
    from mmengine.runner import FlexibleRunner, Runner

    class StudioHook(Hook):
        """Writes progress, and ends the training after a whole step when a stop is asked for."""

        priority = "VERY_LOW"

        def __init__(self) -> None:
            self.told = 0.0
            self.since = time.time()
            self.first = 0

        def before_train(self, runner: Runner) -> None:
            self.since, self.first = time.time(), runner.iter
            self.tell(runner, runner.iter)

        def tell(self, runner: Runner, done: int) -> None:
            """Write the progress: `eta_s` from this process's own iterations so far."""
            new = done - self.first
            left = (time.time() - self.since) / new * (runner.max_iters - done) if new else None
            per_epoch = len(runner.train_dataloader)
            tell(
                note="train",
                pid=os.getpid(),
                at=round(time.time(), 2),
                iter=done,
                max_iters=runner.max_iters,
                iters_per_epoch=per_epoch,
                updates=self.updates(runner, done),
                tokens_per_iter=self.tokens_per_iter(runner),
                cuda=cuda_memory(),
                done=done / runner.max_iters,
                eta_s=left,
            )
            self.told = time.time()

        def updates(self, runner: Runner, done: int) -> "int | None":
            """How often the weights were changed so far: DeepSpeed counts it, mmengine's wrapper once every so often."""
            counted = getattr(runner.model, "global_steps", None)
            if isinstance(counted, int):
                return counted
            every = getattr(runner.optim_wrapper, "_accumulative_counts", None)
            # What is left over at the very end makes one more.
            return every and done // every + (done >= runner.max_iters and done % every > 0)

        def tokens_per_iter(self, runner: Runner) -> "float | None":
            """Tokens that an iteration goes through on average, padding not counted."""
            dataset = runner.train_dataloader.dataset
            lengths = getattr(dataset, "length", None)
            return sum(lengths) / len(runner.train_dataloader) if lengths else None

        def after_train_iter(
            self,
            runner: Runner,
            batch_idx: int,  # noqa: ARG002
            data_batch: object = None,  # noqa: ARG002
            outputs: object = None,  # noqa: ARG002
        ) -> None:
            done = runner.iter + 1
            if time.time() - self.told > 0.5 or done == runner.max_iters:
                self.tell(runner, done)
            if done < runner.max_iters and self.stop_asked():
                for hook in runner.hooks:
                    if isinstance(hook, CheckpointHook) and not hook.every_n_train_iters(runner, hook.interval):
                        hook._save_checkpoint(runner)
                self.tell(runner, done)
                runner.logger.info(f"Stopped as asked after iteration {done}.")
                runner.train_loop.stop_training = True
                # The answers after training belong to a whole training.
                runner._hooks = [hook for hook in runner.hooks if type(hook).__name__ != "EvaluateChatHook"]

        def stop_asked(self) -> bool:
            """Whether to stop: one answer for all ranks, since a rank that goes on alone would wait for ever."""
            asked = bool(STOP and os.path.exists(STOP))
            if torch.distributed.is_initialized():
                device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
                flag = torch.tensor(int(asked), device=device)
                torch.distributed.broadcast(flag, src=0)
                asked = bool(flag.item())
            return asked

    for runner_class in (Runner, FlexibleRunner):

        def train(self: Runner, _train: object = runner_class.train) -> object:
            self.register_hook(StudioHook())
            return _train(self)

        runner_class.train = train


def mark_evaluations() -> None:
    """Log the iteration before each evaluation's answers, which XTuner itself does not say."""
    from xtuner.engine.hooks import EvaluateChatHook

    generate = EvaluateChatHook._generate_samples

    def marked(self: EvaluateChatHook, runner: object, *arguments: object, **options: object) -> None:
        before = runner.iter == 0 and not options.get("save_eval_output") and options.get("max_new_tokens") == 50
        after = runner.iter >= runner.max_iters
        done = 0 if before else runner.iter + (0 if after else 1)
        runner.logger.info(f"Evaluation at iteration {done}.")
        generate(self, runner, *arguments, **options)

    EvaluateChatHook._generate_samples = marked


def single_precision(ds_config: dict) -> dict:
    """DeepSpeed's settings without half precision, which it refuses on a CPU and XTuner asks for there."""
    for kind in ("fp16", "bf16"):
        if kind in ds_config:
            ds_config[kind]["enabled"] = False
    return ds_config


def main() -> None:
    """Train as `xtuner.tools.train` does, with the same options."""
    tell(note="import", done=0.0)
    make_cpu_work()
    from xtuner.tools import train

    if not torch.cuda.is_available():
        train.auto_dtype_of_deepspeed_config = single_precision
    watch_runners()
    mark_evaluations()
    tell(note="prepare", done=0.0)
    sys.argv[0] = "xtuner.tools.train"
    train.main()


if __name__ == "__main__":
    main()
