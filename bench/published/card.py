"""`bench show method NAME --backbone B`: the settings published for a method as a card."""

from __future__ import annotations

from typing import Any

from bench.published import Entry, Sampler, Stage, entry
from bench.training.beta import beta_half_mean_from_kappa, beta_sum_from_kappa


def config_card(method: str, backbone: str) -> dict[str, Any]:
    """Return the card of a method's published settings on a backbone.

    Raises:
        UsageError: the method or the backbone is unknown, or nothing was published for them.
    """
    from bench.api.registry import METHODS

    found = entry(METHODS.entry(method).name, backbone)
    return {
        "method": found.method,
        "backbone": found.backbone.name,
        "checkpoint": found.backbone.checkpoint,
        "parameters": found.backbone.parameters,
        "resolution": found.resolution,
        "latent elements": found.latent_elements,
        "pairs": found.pairs,
        "pair sampler": _sampler(found.pair_sampler),
        "evaluation sampler": _sampler(found.evaluation_sampler),
        "timesteps": found.timesteps,
        "checkpoint used": found.checkpoint_used,
        "trainings": [_stage(found, stage) for stage in found.stages],
        "strength": [row for stage in found.stages if (row := _strength(found, stage))],
        "sources": [{"source": text} for text in found.sources],
        "contradictions": [{"contradiction": text} for text in found.contradictions],
        "departures": [
            {"stage": stage.name or found.method, "departure": text}
            for stage in found.stages
            for text in stage.departures
        ],
        "description": f"{found.method} on {found.backbone.title}, as published",
    }


def _sampler(sampler: Sampler | None) -> str | None:
    if sampler is None:
        return None
    return f"{sampler.scheduler}, {sampler.steps} steps, CFG {sampler.cfg_scale:g}"


def _stage(found: Entry, stage: Stage) -> dict[str, Any]:
    lora = stage.lora
    return {
        "stage": stage.name or found.method,
        "effective batch": stage.batch,
        "effective lr": stage.lr,
        "as stated": stage.lr_as_stated,
        "steps": stage.steps,
        "epochs": round(stage.steps * stage.batch / found.pair_count, 2)
        if found.pair_count
        else None,
        "warm-up updates": stage.warmup_updates,
        "trained": "all weights"
        if lora is None
        else f"LoRA rank {lora.rank}, alpha {lora.alpha:g}, on {', '.join(lora.targets)}",
        "optimiser": f"{stage.optimiser}, weight decay {stage.weight_decay:g}",
        "clipping": stage.max_grad_norm,
        "EMA": None
        if stage.ema is None
        else f"{stage.ema.decay:g} ({stage.ema.rule}, every {stage.ema.every})",
        "precision": {"no": "fp32"}.get(stage.precision, stage.precision),
        "prompt dropout": stage.prompt_dropout,
        "margin": stage.margin,
    }


def _strength(found: Entry, stage: Stage) -> dict[str, Any] | None:
    """The strength of the loss in every convention; see `bench.training.beta`."""
    if stage.beta is None:
        return None
    kappa = stage.beta.kappa(found.latent_elements)
    return {
        "stage": stage.name or found.method,
        "as published": f"{stage.beta.convention} {stage.beta.value:g}",
        "kappa": kappa,
        "beta_half_mean": beta_half_mean_from_kappa(kappa),
        "beta_hf": kappa,
        "beta_sum": round(beta_sum_from_kappa(kappa, found.latent_elements), 6),
    }
