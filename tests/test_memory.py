"""Memory held by the engine stays constant over thousands of calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import run_python

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory can be read on Linux only"
)


def test_resident_memory_does_not_grow():
    """A leak of the 4 KB that one call's work-sharing counters take would be 4 MB here."""
    program = """
        import torch
        from dsn_sktime.kernels import kernel_threads, threads
        from dsn_sktime.network import DSNNetwork

        threads._WORTH_A_THREAD = 1
        network = DSNNetwork(1, 2, n_layers=4, n_filters=2, kernel_size=5, n_kernel_groups=1)
        x, lengths = torch.zeros(2, 1, 8), torch.tensor([8, 5])

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        def step():
            network(x, lengths).sum().backward()

        @torch.no_grad()
        def predict():
            network.eval()(x, lengths)

        def layer():
            network.sparse_convs()[0](x, lengths).sum().backward()

        for call in (step, predict, layer):
            for n_threads in (1, 2):
                with kernel_threads(n_threads):
                    for _ in range(300):
                        call()
                    before = resident()
                    for _ in range(1000):
                        call()
                print(call.__name__, n_threads, (resident() - before) / 1000)
    """
    for line in run_python(program).splitlines():
        assert float(line.split()[-1]) < 800, line
