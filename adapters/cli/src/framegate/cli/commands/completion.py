"""``framegate completion``."""

import click
from click.shell_completion import get_completion_class

from framegate.cli.output import print_line

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    r"""Print a script that completes commands and options in a shell.

    \b
    bash: eval "$(framegate completion bash)"               in ~/.bashrc
    zsh:  eval "$(framegate completion zsh)"                in ~/.zshrc, after compinit
    fish: framegate completion fish > ~/.config/fish/completions/framegate.fish
    """
    root = click.get_current_context().find_root()
    program = root.info_name or "framegate"
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    # The variable is the one that click looks at when the script calls the program.
    script = kind(root.command, {}, program, f"_{program.upper()}_COMPLETE").source()
    print_line(script.strip(), keep_lines=True)
