import jax
import jax.numpy as jnp
import numpy as np

from pointata_jax.tasks.losses import cross_entropy, make_loss


def test_cross_entropy_with_smoothing_weights_and_ignored_labels_by_hand():
    logits = np.array([[[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]], [[1.0, 2.0, 3.0], [5.0, 0.0, 1.0]]])
    labels = np.array([[0, 2], [1, -1]])
    log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    targets = 0.9 * np.eye(3)[labels] + 0.1 / 3
    expected = -(targets * log_probability).sum(-1) * np.array([1.0, 3.0, 0.5])[labels]
    expected[1, 1] = 0
    losses, counted = cross_entropy(
        jnp.asarray(logits),
        jnp.asarray(labels),
        label_smoothing=0.1,
        class_weights=(1.0, 3.0, 0.5),
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert counted.tolist() == [[1, 1], [1, 0]]


class Constant:
    """A model whose only parameter is the logit of class 0."""

    def apply(self, variables, points, **_):
        logits = variables["params"]["bias"] * jnp.eye(2)[0]
        return jnp.broadcast_to(logits, (*points.shape[:2], 2)), {"batch_stats": {}}


def test_the_loss_is_the_mean_over_the_labels_that_count():
    loss_fn = make_loss(Constant())

    def loss(labels, bias=0.7):
        batch = {"points": jnp.zeros((2, 3, 5, 3)), "label": jnp.asarray(labels)}
        return loss_fn({"bias": jnp.asarray(bias)}, {"batch_stats": {}}, batch, jax.random.key(0))

    value, (_, metrics) = loss([[0, 1, -1], [-1, -1, -1]])
    one, other = np.log1p(np.exp(-0.7)), np.log1p(np.exp(0.7))
    np.testing.assert_allclose(value, (one + other) / 2, rtol=1e-6)
    np.testing.assert_allclose(metrics["accuracy"], 50)
    nothing, _ = loss(np.full((2, 3), -1))
    assert float(nothing) == 0
