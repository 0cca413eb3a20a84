"""Every command and program of the documentation is run by a test, or named here with the reason."""

from pathlib import Path

from tests.support.code_blocks import CodeBlock, code_blocks, is_program

REPOSITORY = Path(__file__).parents[2]
DIALECT_PAGES = REPOSITORY / "docs" / "dialects"
"""`tests/dialects/test_pages.py` runs all of their blocks."""

ELSEWHERE = {
    "administration: framegate pause": "run by adapters/cli/tests/test_operations_commands.py",
    "administration: framegate models load": "run by adapters/cli/tests/test_operations_commands.py",
    "administration: framegate workers": "run by adapters/cli/tests/test_operations_commands.py",
    "administration: framegate usage": "run by adapters/cli/tests/test_operations_commands.py",
    "cli: export FRAMEGATE_URL": "run by tests/cli/test_remote.py",
    "cli: echo": "run by tests/cli/test_remote.py",
    "cli: eval": "run by adapters/cli/tests/test_completion.py",
    "README: make run": "starts a server until it is stopped; `RunningServer` starts the same command",
    "README: id=try-$(date +%s); curl": "run by tests/docs/test_docs.py",
    "README: make test": "runs the tests",
    "README: make dist": "downloads torch; tests/packaging build and install the wheels",
    "comfyui: framegate comfyui check": "needs ComfyUI; plugins/comfyui/tests run its commands",
    "comfyui: framegate generate": "needs ComfyUI; plugins/comfyui/tests have whole jobs",
    "keys: framegate keys": "run by adapters/cli/tests/test_keys_command.py, which has all of its commands",
    "models: framegate models pull": "needs a hub; tests/cli/test_pull.py has one",
    "models: framegate models --memory": "run by adapters/cli/tests/test_model_memory.py",
    "models: hf download": "downloads kernels from a hub",
    "models: pip install": "downloads torch; tests/packaging install the distributions",
    "models: python -m tests.benchmarks.step_caches": "needs weights; tests/benchmarks has its test",
    "operations: framegate serve": "starts servers until they are stopped",
    "operations: # dist: the folder": "is for several hosts; tests/faults/test_two_hosts.py has them",
    "performance: python -m tests.benchmarks.serving": "takes long; tests/benchmarks has its test",
    "performance: class BenchStub": "is for ComfyUI",
    "performance: python -m tests.benchmarks.gpu": "needs a GPU; tests/benchmarks has its test",
    "performance: make gpu-wheels": "downloads wheels; tests/benchmarks has a test of which",
    "plugins: # framegate_noise/__init__.py": "run by tests/docs/test_docs.py",
    "plugins: # framegate_noise/backend.py": "run by tests/docs/test_docs.py",
    "plugins: # framegate_noise/options.py": "run by tests/docs/test_docs.py",
    "plugins: # tests/test_noise.py": "run by tests/docs/test_docs.py",
    "plugins: # framegate_noise/dialects.py": "run by tests/docs/test_docs.py",
    "plugins: # framegate_noise/dialect.py": "run by tests/docs/test_docs.py",
    'webhooks: export WEBHOOK_SECRET="whsec_$(openssl rand': "sets a variable; tests/webhooks have a secret",
    "webhooks: event = client.webhooks.unwrap": "run by tests/webhooks/test_webhooks.py",
}
"""The beginnings of the blocks that the pages' tests don't run, each with the reason."""


def other_programs() -> list[CodeBlock]:
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    blocks = [block for page in pages if page.parent != DIALECT_PAGES for block in code_blocks(page)]
    return list(filter(is_program, blocks))


def test_every_program_is_accounted_for() -> None:
    missing = [
        f"{block.file}: {block.first_line}"
        for block in other_programs()
        if not f"{block.file}: {block.first_line}".startswith(tuple(ELSEWHERE))
    ]
    assert missing == []


def test_every_entry_is_still_printed() -> None:
    printed = [f"{block.file}: {block.first_line}" for block in other_programs()]
    assert [entry for entry in ELSEWHERE if not any(line.startswith(entry) for line in printed)] == []
