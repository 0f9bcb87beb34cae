"""UnifiedReward's question and how a score is read out of an answer.

Source: CodeGoat24/UnifiedReward@ed52f98:inference_qwen/image_generation/
qwen_point_score_image_generation.py (the question); Cwyxx/RealAlign@158ce28:
training_sd35m/flow_grpo/rewards.py `unifiedreward_score` (the reading).
"""

from __future__ import annotations

import re

LOWEST, HIGHEST = 1.0, 5.0

QUESTION = (
    "You are given a text caption and a generated image based on that caption. Your task is to "
    "evaluate this image based on two key criteria:\n1. Alignment with the Caption: Assess how "
    "well this image aligns with the provided caption. Consider the accuracy of depicted objects, "
    "their relationships, and attributes as described in the caption.\n2. Overall Image Quality: "
    "Examine the visual quality of this image, including clarity, detail preservation, color "
    "accuracy, and overall aesthetic appeal.\nExtract key elements from the provided text "
    "caption, evaluate their presence in the generated image using the format: 'element (type): "
    "value' (where value=0 means not generated, and value=1 means generated), and assign a score "
    "from 1 to 5 after 'Final Score:'.\nYour task is provided as follows:\nText Caption: [{prompt}]"
)
"""What the model was trained on, to the letter: another wording is another metric."""

_FAITHFUL = re.compile(r"Final Score:\s*([1-5](?:\.\d+)?)")
_CLEAN = re.compile(r"Final Score:[\s*]*(\d+(?:\.\d+)?)(?:\s*/\s*(\d+))?")


def parse(answer: str, profile: str) -> float | None:
    """Return the score in an answer; None where there is none.

    Args:
        answer: the model's text.
        profile: "faithful" reads the first "Final Score:" as upstream does: 10 is read as 1, and
            5.9 as it stands. "clean" reads the last one, and only a number from 1 to 5, of 5.
    """
    if profile == "faithful":
        first = _FAITHFUL.search(answer)
        return float(first[1]) if first else None
    found = _CLEAN.findall(answer)
    if not found or found[-1][1] not in ("", "5"):
        return None
    score = float(found[-1][0])
    return score if LOWEST <= score <= HIGHEST else None
