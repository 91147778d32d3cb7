"""The optimizer: orthogonalised momentum (Muon) for the matrices within blocks, AdamW for everything else."""
import torch

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the quintic Newton-Schulz iteration that Muon was published with; it brings singular values to about one."""


def orthogonal(matrix):
    """A matrix f32 [m, n] with its singular values brought near one."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum whose update is orthogonalised, in float32 (processors without bfloat16 units are
    ten times slower in it). The update is scaled to the root mean square of Adam's, so both share a learning rate."""

    def __init__(self, params, lr, weight_decay):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - MOMENTUM)
                update = orthogonal(p.grad.lerp(state["momentum"], MOMENTUM))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-0.2 * max(p.shape) ** 0.5 * group["lr"])


def optimizers(model, lr, weight_decay=0.01):
    """[Muon, AdamW] over the parameters of `model`. The mergers' wide matrices would cost more in Muon than the rest
    together, and embeddings are rows and not maps; both go to AdamW."""
    matrices, rest = [], []
    for name, p in model.named_parameters():
        within = ".layers." in name or ".blocks." in name
        (matrices if within and p.ndim == 2 else rest).append(p)
    adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)
    return [Muon(matrices, lr, weight_decay), adam]
