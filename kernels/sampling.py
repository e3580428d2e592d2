"""Drawing the next tokens of a batch: mask, penalties, bias, temperature, top-k, top-p, min-p, and log-probabilities.

Rows are independent: a row's token is a function of its logits, settings and uniform number alone, whatever else is
drawn with it.
"""

from __future__ import annotations

from torch import Tensor

from espalier.kernels.dispatch import use_triton
from espalier.kernels.sampling_settings import Ragged, Sampled, Settings, check, uniform
from espalier.kernels.sampling_twin import sample_twin

__all__ = ["Ragged", "Sampled", "Settings", "sample", "uniform"]


def sample(logits_rv: Tensor, settings: Settings) -> Sampled:
    """A token of each row of logits, floats [R, V] in rows any stride apart. Raises KernelError.

    Over the allowed tokens only: the penalties (repetition: Keskar et al., 2019; presence and frequency: OpenAI's),
    then the bias, then the temperature; the tokens at least `min_p` times as likely as the likeliest, of those the
    `top_k` best, of those the fewest, best first, whose share makes `top_p`; equals count by rising token. The token is
    the first, in order of the vocabulary, at which the running sum of what is left exceeds `uniform` of it. Greedy rows
    take the best token, the first of equals. A forbidden token never comes out.

    Log-probabilities are those of the logits as they came, over the whole vocabulary: before mask, penalties, bias and
    temperature.

    The kernel, the native library and torch round sums differently: a `uniform` within about 1e-6 of where one token
    ends and the next begins, or a `top_p` as near to where a token is needed for it, may fall to either.
    """
    check(logits_rv, settings)
    if not len(logits_rv):
        return sample_twin(logits_rv, settings)
    if use_triton(logits_rv):
        from espalier.kernels.triton.sampling import sample_fused

        return sample_fused(logits_rv, settings)
    return sample_twin(logits_rv, settings)
