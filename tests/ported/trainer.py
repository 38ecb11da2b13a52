"""A trainer in minGPT's shape: a config, callbacks, decay by kind of module, clipping, GELU by hand."""

import math
from collections import defaultdict
from types import SimpleNamespace


def build(torch):
    nn = torch.nn

    class NewGELU(nn.Module):
        def forward(self, x):
            cube = x + 0.044715 * torch.pow(x, 3.0)
            return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * cube))

    class Net(nn.Module):
        def __init__(self, vocab, width, block):
            super().__init__()
            self.block = block
            self.emb = nn.Embedding(vocab, width)
            self.ln = nn.LayerNorm(width)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(block * width, width), NewGELU(), nn.Identity())
            self.head = nn.Linear(width, vocab, bias=False)
            self.register_buffer("scale", torch.full((1,), 0.5))

        def forward(self, idx, targets=None):
            logits = self.head(self.body(self.ln(self.emb(idx)) * self.scale))
            loss = None
            if targets is not None:
                loss = nn.functional.cross_entropy(logits, targets, ignore_index=-1)
            return logits, loss

        def configure_optimizers(self, config):
            decay, no_decay = set(), set()
            for mn, m in self.named_modules():
                for pn, _ in m.named_parameters():
                    full = f"{mn}.{pn}" if mn else pn
                    if pn.endswith("bias"):
                        no_decay.add(full)
                    elif pn.endswith("weight") and isinstance(m, nn.Linear):
                        decay.add(full)
                    elif pn.endswith("weight") and isinstance(m, (nn.LayerNorm, nn.Embedding)):
                        no_decay.add(full)
            params = dict(self.named_parameters())
            assert not decay & no_decay
            assert not params.keys() - (decay | no_decay)
            groups = [
                {"params": [params[n] for n in sorted(decay)], "weight_decay": config.weight_decay},
                {"params": [params[n] for n in sorted(no_decay)], "weight_decay": 0.0},
            ]
            return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)

    class Trainer:
        def __init__(self, config, model, batches):
            self.config, self.batches = config, batches
            self.callbacks = defaultdict(list)
            if config.device == "auto":
                self.device = "cuda" if torch.cuda.is_available() else "cpu"
            else:
                self.device = config.device
            self.model = model.to(self.device)

        def add_callback(self, event, callback):
            self.callbacks[event].append(callback)

        def run(self):
            self.optimizer = self.model.configure_optimizers(self.config)
            self.model.train()
            self.iter_num = 0
            for batch in self.batches:
                x, y = [t.to(self.device) for t in batch]
                _, self.loss = self.model(x, y)
                self.model.zero_grad(set_to_none=True)
                self.loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_norm_clip)
                self.optimizer.step()
                for callback in self.callbacks["on_batch_end"]:
                    callback(self)
                self.iter_num += 1

    return SimpleNamespace(Net=Net, Trainer=Trainer)
