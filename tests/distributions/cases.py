"""Distributions to test with, of PyTorch's and of tracec's."""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(0)
LOC = rng.normal(size=(3, 2)).astype(np.float32)
SCALE = rng.uniform(0.3, 2.0, size=(3, 2)).astype(np.float32)
PROBS = rng.uniform(0.05, 0.95, size=(3, 2)).astype(np.float32)
LOGITS = rng.normal(size=(3, 4)).astype(np.float32)
WEIGHTS = rng.uniform(0.1, 1.0, size=(3, 4)).astype(np.float32)
FACTOR = np.tril(rng.normal(size=(3, 2, 2))).astype(np.float32)
FACTOR[:, [0, 1], [0, 1]] = SCALE
COVARIANCE = FACTOR @ FACTOR.transpose(0, 2, 1)
REALS = rng.normal(size=(3, 2)).astype(np.float32)
CLASSES = np.array([0, 3, 2])
SHARES = (WEIGHTS[::-1] / WEIGHTS[::-1].sum(-1, keepdims=True)).astype(np.float32)
HEAT = np.array(0.7, np.float32)
TAILS = np.array([[0.2, -0.3], [0.0, 0.4], [0.6, 1.2]], np.float32)
_CORRELATIONS = np.eye(3) + np.array([[0, 0.5, -0.2], [0.5, 0, 0.3], [-0.2, 0.3, 0]])
CORRELATED = np.stack([np.linalg.cholesky(_CORRELATIONS)] * 3).astype(np.float32)

#: (make, values): ``make(d, t)`` of the module of distributions and a function that makes tensors.
CASES = {
    "Normal": (lambda d, t: d.Normal(t(LOC), t(SCALE)), REALS),
    "Laplace": (lambda d, t: d.Laplace(t(LOC), t(SCALE)), REALS),
    "Gumbel": (lambda d, t: d.Gumbel(t(LOC), t(SCALE)), REALS),
    "Cauchy": (lambda d, t: d.Cauchy(t(LOC), t(SCALE)), REALS),
    "LogNormal": (lambda d, t: d.LogNormal(t(LOC), t(SCALE)), np.exp(REALS)),
    "HalfNormal": (lambda d, t: d.HalfNormal(t(SCALE)), np.abs(REALS)),
    "Uniform": (lambda d, t: d.Uniform(t(LOC), t(LOC + SCALE)), LOC + SCALE * PROBS),
    "Exponential": (lambda d, t: d.Exponential(t(SCALE)), np.abs(REALS)),
    "ContinuousBernoulli": (lambda d, t: d.ContinuousBernoulli(t(PROBS)), PROBS[::-1].copy()),
    "ContinuousBernoulli logits": (lambda d, t: d.ContinuousBernoulli(logits=t(LOC)), PROBS),
    "ContinuousBernoulli half": (lambda d, t: d.ContinuousBernoulli(t(np.full((3, 2), 0.5004, np.float32))), PROBS),
    "Bernoulli": (lambda d, t: d.Bernoulli(t(PROBS)), (PROBS > 0.5).astype(np.float32)),
    "Bernoulli logits": (lambda d, t: d.Bernoulli(logits=t(LOC)), (PROBS > 0.5).astype(np.float32)),
    "Geometric": (lambda d, t: d.Geometric(t(PROBS)), np.floor(SCALE * 3)),
    "Poisson": (lambda d, t: d.Poisson(t(SCALE * 4)), np.floor(SCALE * 3)),
    "Binomial": (lambda d, t: d.Binomial(7, t(PROBS)), np.floor(PROBS * 7)),
    "Binomial logits": (lambda d, t: d.Binomial(3, logits=t(LOC)), np.floor(PROBS * 3)),
    "Categorical": (lambda d, t: d.Categorical(t(WEIGHTS)), CLASSES),
    "Categorical logits": (lambda d, t: d.Categorical(logits=t(LOGITS)), CLASSES),
    "OneHotCategorical": (lambda d, t: d.OneHotCategorical(t(WEIGHTS)), np.eye(4, dtype=np.float32)[CLASSES]),
    "Multinomial": (lambda d, t: d.Multinomial(5, t(WEIGHTS)), np.array([[1, 2, 0, 2]] * 3, np.float32)),
    "MultivariateNormal": (lambda d, t: d.MultivariateNormal(t(LOC), t(COVARIANCE)), REALS),
    "MultivariateNormal tril": (lambda d, t: d.MultivariateNormal(t(LOC), scale_tril=t(FACTOR)), REALS),
    "MultivariateNormal precision": (lambda d, t: d.MultivariateNormal(t(LOC), precision_matrix=t(COVARIANCE)), REALS),
    "Independent": (lambda d, t: d.Independent(d.Normal(t(LOC), t(SCALE)), 1), REALS),
    "MixtureSameFamily": (
        lambda d, t: d.MixtureSameFamily(d.Categorical(t(PROBS)), d.Normal(t(LOC), t(SCALE))), REALS[:, 0]
    ),
    "mixture of vectors": (
        lambda d, t: d.MixtureSameFamily(
            d.Categorical(t(PROBS[0])), d.Independent(d.Normal(t(LOC[:2]), t(SCALE[:2])), 1)
        ),
        REALS[0],
    ),
    "TransformedDistribution": (
        lambda d, t: d.TransformedDistribution(
            d.Normal(t(LOC), t(SCALE)), [d.AffineTransform(1.0, 0.5), d.TanhTransform()]
        ),
        np.tanh(REALS),
    ),
    "sigmoid of a normal": (
        lambda d, t: d.TransformedDistribution(d.Normal(t(LOC), t(SCALE)), [d.SigmoidTransform()]), PROBS
    ),
    "Gamma": (lambda d, t: d.Gamma(t(SCALE * 2), t(SCALE[::-1].copy())), np.abs(REALS)),
    "Chi2": (lambda d, t: d.Chi2(t(SCALE * 3)), np.abs(REALS)),
    "InverseGamma": (lambda d, t: d.InverseGamma(t(SCALE * 3), t(SCALE[::-1].copy())), np.abs(REALS)),
    "Beta": (lambda d, t: d.Beta(t(SCALE), t(SCALE[::-1] * 2)), PROBS),
    "Dirichlet": (lambda d, t: d.Dirichlet(t(WEIGHTS * 3)), SHARES),
    "StudentT": (lambda d, t: d.StudentT(t(SCALE * 4), t(LOC), t(SCALE)), REALS),
    "FisherSnedecor": (lambda d, t: d.FisherSnedecor(t(SCALE * 4), t(SCALE[::-1] * 9)), np.abs(REALS)),
    "HalfCauchy": (lambda d, t: d.HalfCauchy(t(SCALE)), np.abs(REALS)),
    "Weibull": (lambda d, t: d.Weibull(t(SCALE), t(SCALE[::-1] * 2)), np.abs(REALS)),
    "Pareto": (lambda d, t: d.Pareto(t(SCALE), t(SCALE[::-1] * 3)), SCALE * (1 + np.abs(REALS))),
    "GeneralizedPareto": (lambda d, t: d.GeneralizedPareto(t(LOC), t(SCALE), t(TAILS)), LOC + 0.7 * SCALE),
    "Kumaraswamy": (lambda d, t: d.Kumaraswamy(t(SCALE), t(SCALE[::-1] * 2)), PROBS),
    "VonMises": (lambda d, t: d.VonMises(t(LOC), t(SCALE * 5)), REALS),
    "NegativeBinomial": (lambda d, t: d.NegativeBinomial(t(SCALE * 3), t(PROBS * 0.9)), np.floor(SCALE * 3)),
    "NegativeBinomial logits": (lambda d, t: d.NegativeBinomial(5, logits=t(LOC)), np.floor(SCALE * 3)),
    "RelaxedBernoulli": (lambda d, t: d.RelaxedBernoulli(t(HEAT), t(PROBS)), PROBS[::-1].copy()),
    "RelaxedBernoulli logits": (lambda d, t: d.RelaxedBernoulli(t(np.asarray(2 * HEAT)), logits=t(LOC)), PROBS),
    "RelaxedOneHotCategorical": (lambda d, t: d.RelaxedOneHotCategorical(t(HEAT), t(WEIGHTS)), SHARES),
    "LogisticNormal": (lambda d, t: d.LogisticNormal(t(LOGITS[:, 1:]), t(WEIGHTS[:, 1:])), SHARES),
    "LowRankMultivariateNormal": (
        lambda d, t: d.LowRankMultivariateNormal(t(LOC), t(FACTOR[..., :1].copy()), t(SCALE)), REALS
    ),
    "Wishart": (lambda d, t: d.Wishart(t(SCALE[:, 0] + 2), t(COVARIANCE)), COVARIANCE[::-1].copy()),
    "Wishart tril": (lambda d, t: d.Wishart(t(SCALE[:, 0] + 2), scale_tril=t(FACTOR)), COVARIANCE[::-1].copy()),
    "LKJCholesky": (lambda d, t: d.LKJCholesky(3, t(SCALE[:, 0])), CORRELATED),
    "OneHotCategoricalStraightThrough": (
        lambda d, t: d.OneHotCategoricalStraightThrough(t(WEIGHTS)), np.eye(4, dtype=np.float32)[CLASSES]
    ),
    "Independent of a Gamma": (lambda d, t: d.Independent(d.Gamma(t(SCALE), t(SCALE)), 2), np.abs(REALS)),
    "mixture of gammas": (
        lambda d, t: d.MixtureSameFamily(d.Categorical(t(PROBS)), d.Gamma(t(SCALE * 2), t(SCALE))), np.abs(REALS[:, 0])
    ),
    "stick breaking of a MultivariateNormal": (
        lambda d, t: d.TransformedDistribution(
            d.MultivariateNormal(t(LOC), scale_tril=t(FACTOR)), d.StickBreakingTransform()
        ),
        SHARES[:, :3] / SHARES[:, :3].sum(-1, keepdims=True),
    ),
}  # fmt: skip
