"""The conventions in which papers and programs state the strength of a preference loss.

One number is used inside: kappa, the coefficient of the difference of *mean* squares in
`-logsigmoid(-kappa * delta)`. With D = C*H*W latent elements:

| name            | loss                                      | used by                      |
|-----------------|-------------------------------------------|------------------------------|
| kappa           | -logsigmoid(-kappa * mean difference)     | this project                 |
| beta_half_mean  | -logsigmoid(-beta/2 * mean difference)    | DiffusionDPO, DDSPO programs |
| beta_sum        | -logsigmoid(-beta * sum difference)       | the papers' equations        |
| beta_hf         | -logsigmoid(-beta * mean difference)      | diffusers' research script   |

"beta 5000" of DiffusionDPO is thus "beta 2500" of diffusers, and the same beta_half_mean is a
different beta_sum for each latent size.
"""

from __future__ import annotations


def kappa_from_beta_half_mean(beta_half_mean: float) -> float:
    """Return kappa = beta_half_mean / 2."""
    return beta_half_mean / 2.0


def beta_half_mean_from_kappa(kappa: float) -> float:
    """Return beta_half_mean = 2 kappa."""
    return 2.0 * kappa


def kappa_from_beta_sum(beta_sum: float, latent_elements: int) -> float:
    """Return kappa = beta_sum * D."""
    return beta_sum * latent_elements


def beta_sum_from_kappa(kappa: float, latent_elements: int) -> float:
    """Return beta_sum = kappa / D, which is beta_half_mean / (2 D)."""
    return kappa / latent_elements


def kappa_from_beta_hf(beta_hf: float) -> float:
    """Return kappa = beta_hf."""
    return beta_hf
