"""DSPy's proposer of instructions, for small models too.

It asks and reads in few words and by a schema, which a local server holds its model to; an
instruction that cannot be read all the same is no reason to give a study up: the step keeps its
own, and what failed is counted by the watch.
"""

from __future__ import annotations

from typing import Any

from dspy.propose import GroundedProposer
from dspy.teleprompt.mipro_optimizer_v2 import BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT

from flywheel.lm.bridge import dspy
from flywheel.programs.terse import TerseAdapter


class Proposer(GroundedProposer):  # type: ignore[misc]  # DSPy is not typed
    """Proposes instructions, and keeps the old one where it cannot."""

    def __init__(self, **told: Any) -> None:
        with dspy.context(adapter=TerseAdapter()):
            super().__init__(**told)

    def propose_instruction_for_predictor(
        self, program: Any, predictor: Any, *given: Any, **told: Any
    ) -> str:
        """A new instruction, or the one that there is."""
        with dspy.context(adapter=TerseAdapter()):
            try:
                proposed: str = super().propose_instruction_for_predictor(
                    program, predictor, *given, **told
                )
            except (dspy.AdapterParseError, dspy.LMError):
                proposed = ""
        return proposed.strip() or str(predictor.signature.instructions)


class MIPROv2(dspy.MIPROv2):  # type: ignore[misc]  # DSPy is not typed
    """DSPy's, with this proposer."""

    def _propose_instructions(
        self,
        program: Any,
        trainset: list[Any],
        demo_candidates: Any,
        view_data_batch_size: int,
        program_aware_proposer: bool,
        data_aware_proposer: bool,
        tip_aware_proposer: bool,
        fewshot_aware_proposer: bool,
        num_instruct_candidates: int,
    ) -> dict[int, list[str]]:
        """As DSPy's: the first instruction of each step is its own."""
        proposer = Proposer(
            program=program,
            trainset=trainset,
            prompt_model=self.prompt_model,
            view_data_batch_size=view_data_batch_size,
            program_aware=program_aware_proposer,
            use_dataset_summary=data_aware_proposer,
            use_task_demos=fewshot_aware_proposer,
            num_demos_in_context=BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT,
            use_tip=tip_aware_proposer,
            set_tip_randomly=tip_aware_proposer,
            use_instruct_history=False,
            set_history_randomly=False,
            rng=self.rng,
            init_temperature=self.init_temperature,
        )
        found: dict[int, list[str]] = proposer.propose_instructions_for_program(
            trainset=trainset,
            program=program,
            demo_candidates=demo_candidates,
            N=num_instruct_candidates,
            trial_logs={},
        )
        for number, step in enumerate(program.predictors()):
            own = str(step.signature.instructions)
            # One that says what another says would be a trial for nothing.
            found[number] = list(dict.fromkeys([own, *found[number][1:]]))
        return found
