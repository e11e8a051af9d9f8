"""Makes port_pytorch.safetensors, and prints what port_pytorch.c must print too.

Needs PyTorch and safetensors:  python3 port_pytorch.py
"""

import torch
from safetensors.torch import save_file


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.gru = torch.nn.GRU(16, 5, batch_first=True)
        self.out = torch.nn.Linear(5, 3)

    def forward(self, x):  # [batch, 1, 8, 8]
        y = torch.relu(self.norm(self.conv(x)))
        y = torch.nn.functional.max_pool2d(y, 2)  # [batch, 4, 4, 4]
        y = y.permute(0, 2, 1, 3).flatten(2)  # rows become times: [batch, 4, 16]
        _, last = self.gru(y)
        return self.out(last[0])


def export(net, path):
    w = net.state_dict()
    b_x, b_h = w["gru.bias_ih_l0"], w["gru.bias_hh_l0"]  # each of r, z, n
    n = 2 * net.gru.hidden_size
    weights = {
        "conv/w": w["conv.weight"],
        "conv/b": w["conv.bias"],
        "norm/scale": w["norm.weight"],
        "norm/shift": w["norm.bias"],
        "norm/running_mean": w["norm.running_mean"],
        "norm/running_variance": w["norm.running_var"],
        "gru/w_x": w["gru.weight_ih_l0"].T,
        "gru/w_h": w["gru.weight_hh_l0"].T,
        "gru/b": torch.cat([b_x[:n] + b_h[:n], b_x[n:], b_h[n:]]),
        "out/w": w["out.weight"].T,
        "out/b": w["out.bias"],
    }
    save_file({name: value.contiguous() for name, value in weights.items()}, path)


def main():
    torch.manual_seed(1)
    net = Net()
    export(net, "port_pytorch.safetensors")
    x = torch.sin(torch.arange(2 * 64.0)).reshape(2, 1, 8, 8)
    t = torch.tensor([0, 2])
    net.eval()
    with torch.no_grad():
        for row in net(x):
            print("scores", *(f"{value:.5f}" for value in row))
    net.train()
    net.gru.bias_ih_l0.requires_grad_(False)
    net.gru.bias_hh_l0.requires_grad_(False)
    rule = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    for step in range(4):
        loss = torch.nn.functional.cross_entropy(net(x), t)
        rule.zero_grad()
        loss.backward()
        rule.step()
        print(f"step {step}: loss {loss.item():.5f}")
    print("running mean", *(f"{value:.5f}" for value in net.norm.running_mean))


if __name__ == "__main__":
    main()
