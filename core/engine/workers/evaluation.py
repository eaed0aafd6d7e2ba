"""Evaluations during training: XTuner's own questions in one batch, logged with the iteration, never asked twice.

Part of `entry`, in the engine's interpreter. XTuner asks one question at a time, and twice at the end of training, and
samples at a temperature of 0.1; here the most likely token is taken, as in the chat. With a new adapter, the answers
before training are asked after the first iteration, with the adapter disabled: they are the same, and nobody waits for
them. An answer to a question of the data is cut off where it is longer than any that they teach. A config with its own
`generation_kwargs` is left to XTuner's code.
"""

from typing import Any

from core.engine.workers import phases
from core.engine.workers.asking import SPARE, Asking, Said
from core.engine.workers.beginning import begin_texts, begun
from core.engine.workers.training_hook import Interrupted, stop_asked, telling


def mark_evaluations() -> None:
    """Log the iteration before each evaluation's answers, which XTuner does not, and abandon it on a stop request."""
    import torch
    from xtuner.engine.hooks import EvaluateChatHook

    generate, after_iteration = EvaluateChatHook._generate_samples, EvaluateChatHook.after_train_iter

    def criterion(ids: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        check()
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    def marked(self: EvaluateChatHook, runner: object, *arguments: object, **options: object) -> None:
        before = not options.get("save_eval_output") and options.get("max_new_tokens") == 50
        after = runner.iter >= runner.max_iters or runner.train_loop.stop_training
        self.at = runner.iter if before else runner.iter + (0 if after else 1)
        if before and runner.iter == 0 and not self.owes:
            self.of_base = begins_with_base(runner)
            if self.of_base and can_wait(self, runner):
                self.owes = True
                return
        if self.owes:
            self.at = 0
        runner.logger.info(f"Evaluation at iteration {self.at}.")
        # Ranks that generate together must all finish, however long it takes.
        if runner.world_size == 1 and criterion not in self.stop_criteria:
            self.stop_criteria.append(criterion)
        try:
            with telling("evaluate"), phases.spending("answers"):
                generate(self, runner, *arguments, **options)
        except Interrupted:
            runner.logger.info("Evaluation abandoned: a stop was requested.")

    def pay(self: EvaluateChatHook, runner: object, *arguments: object, **options: object) -> None:
        phases.reach("first")
        if self.owes:
            try:
                marked(self, runner, max_new_tokens=50)
            finally:
                self.owes = False
        after_iteration(self, runner, *arguments, **options)

    EvaluateChatHook.owes, EvaluateChatHook.of_base = False, True
    EvaluateChatHook._generate_samples = marked
    EvaluateChatHook.after_train_iter = pay


def can_wait(hook: Any, runner: Any) -> bool:
    """Return whether the base model can still be asked when training has begun."""
    return not hook.own_way and hook.evaluation_images is None and hasattr(unwrapped(runner).llm, "disable_adapter")


def begins_with_base(runner: Any) -> bool:
    """Return whether training begins with the base model, not with an adapter or weights that were trained before."""
    from core.engine.workers.adapter_inputs import untrained

    llm, model = unwrapped(runner).llm, runner.cfg.get("model") or {}
    return not (runner._load_from or model.get("pretrained_pth")) and (
        not hasattr(llm, "disable_adapter") or untrained(llm)
    )


def unwrapped(runner: Any) -> Any:
    """Return the runner's model without DDP's or DeepSpeed's wrapper."""
    from mmengine.model import is_model_wrapper

    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def ask_together() -> None:
    """Ask the questions of an evaluation in one batch, and begin texts as the model's own tokenizer does."""
    from xtuner.engine.hooks import EvaluateChatHook

    made, one_by_one = EvaluateChatHook.__init__, getattr(EvaluateChatHook, "_eval_language", None)

    def begins(self: EvaluateChatHook, *arguments: object, **options: Any) -> None:
        made(self, *arguments, **options)
        begin_texts(self.tokenizer)
        self.own_way = bool(options.get("generation_kwargs"))
        self.words = [word.stop_word for word in self.stop_criteria if hasattr(word, "stop_word")]
        self.told: dict[tuple[int, int], list[Said]] = {}
        self.asking: Asking | None = None

    def together(
        self: EvaluateChatHook,
        runner: object,
        model: object,
        device: object,
        max_new_tokens: int,
        save_eval_output: bool = False,
    ) -> None:
        if self.own_way:
            one_by_one(self, runner, model, device, max_new_tokens, save_eval_output)
            return
        prompts = [
            (self.system + self.instruction).format(input=question, round=1, **runner.cfg)
            for question in self.evaluation_inputs
        ]
        key = (self.at, max_new_tokens)
        if key not in self.told:
            self.asking = self.asking or Asking(runner, self.tokenizer, self.words)
            look = check if runner.world_size == 1 else (lambda: None)
            of_base, most = self.at == 0 and self.of_base, max_new_tokens
            taught = [] if of_base else [self.asking.taught(prompt) for prompt in prompts]
            if taught and all(taught):
                # What goes on longer is not what is taught.
                most = min(most, max(taught) + SPARE)
            said = self.asking.ask(prompts, most, base=of_base, at=self.at, check=look)
            self.told = {key: said}
        texts = [
            self.tokenizer.decode(begun(self.tokenizer, prompt) + said.ids)
            for prompt, said in zip(prompts, self.told[key], strict=True)
        ]
        for text in texts:
            runner.logger.info(f"Sample output:\n{text}\n")
        if save_eval_output:
            self._save_eval_output(runner, [f"{text}\n" for text in texts])

    EvaluateChatHook.__init__ = begins
    if one_by_one is not None:
        EvaluateChatHook._eval_language = together


def check() -> None:
    """Raise Interrupted if a stop was requested."""
    if stop_asked():
        raise Interrupted
