"""Ridge regression (Hoerl and Kennard 1970) in the form that scikit-learn users know, with scikit-learn's coefficients."""

from typing import Annotated

from trainyard import Estimator, Range, eye, float64, linalg


class Ridge(Estimator):
    """Linear regression with a penalty on the coefficients"""

    name = "ridge-python"
    tasks = ["regression", "forecasting"]

    def __init__(
        self,
        alpha: Annotated[float, Range(ge=0, doc="How strongly coefficients are drawn to zero.")] = 1.0,
        fit_intercept: Annotated[bool, Range(doc="Whether a constant is fitted too.")] = True,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept

    def fit(self, X, y):
        X, y = X.to(float64), y.to(float64)
        x_mean, y_mean = X.mean(0), y.mean(0)
        if self.fit_intercept:
            X, y = X - x_mean, y - y_mean
        w = linalg.solve(X.T @ X + eye(X.shape[1], dtype=float64) * self.alpha, X.T @ y)
        self.coef_ = w.T
        self.intercept_ = y_mean - x_mean @ w if self.fit_intercept else y_mean * 0
        return self

    def predict(self, X):
        return X.to(float64) @ self.coef_.T + self.intercept_
