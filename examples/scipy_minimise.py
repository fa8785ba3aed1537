"""SciPy finds the minimum, tracec gives the gradient: logistic regression by L-BFGS.

    python examples/scipy_minimise.py

``scipy.optimize.minimize`` asks for the value and the gradient at a NumPy array; `value_and_grad` gives both from a
function of tensors. The data are measurements of 569 tumours that come with scikit-learn: nothing is downloaded.
"""

import argparse

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import tracec as torch
import tracec.nn.functional as F
from tracec.func import value_and_grad


def main(argv: list[str] | None = None) -> tuple[float, float]:
    """Fit, and return the accuracy and the largest difference from scikit-learn's coefficients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--penalty", type=float, default=1.0, help="factor of half the squared weights")
    args = parser.parse_args(argv)

    data, labels = load_breast_cancer(return_X_y=True)
    data = (data - data.mean(0)) / data.std(0)
    x, y = torch.from_numpy(data), torch.from_numpy(labels.astype(np.float64))

    def loss(weights: torch.Tensor) -> torch.Tensor:
        """Logistic loss of all examples and a penalty on the weights, the last of which is the bias."""
        logits = x @ weights[:-1] + weights[-1]
        penalty = 0.5 * args.penalty * weights[:-1].square().sum()
        return F.binary_cross_entropy_with_logits(logits, y, reduction="sum") + penalty

    objective = torch.compile(value_and_grad(loss))

    def value_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(torch.from_numpy(weights))
        return value.item(), gradient.numpy()

    found = minimize(
        value_and_gradient, np.zeros(data.shape[1] + 1), jac=True, method="L-BFGS-B", options={"ftol": 1e-14}
    )
    accuracy = float(((data @ found.x[:-1] + found.x[-1] > 0) == labels).mean())
    reference = LogisticRegression(C=1 / args.penalty, tol=1e-10, max_iter=10_000).fit(data, labels)
    apart = float(np.abs(found.x[:-1] - reference.coef_[0]).max())
    print(f"{found.nit} iterations, {found.nfev} evaluations: loss {found.fun:.6f}, accuracy {100 * accuracy:.1f} %")
    print(f"largest difference from scikit-learn's coefficients: {apart:.1e}")
    return accuracy, apart


if __name__ == "__main__":
    main()
