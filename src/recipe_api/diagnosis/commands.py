"""Shell commands that fix problems, for the platform that the service runs on."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Commands for a person to paste. Words in capitals, such as YOUR-SECRET, are placeholders."""

    on_heroku: bool = False
    """Whether the settings are those of an app on Heroku, whose variables are set and commands run from elsewhere."""

    def run(self, *words: str) -> str:
        """Return a command that runs with the service's settings."""
        return shlex.join([*(["heroku", "run", "--"] if self.on_heroku else []), *words])

    def recipe_api(self, *words: str) -> str:
        """Return a `recipe-api` command that runs with the service's settings."""
        return self.run("recipe-api", *words)

    def set_variables(self, **values: str) -> str:
        """Return a command that sets variables of the service."""
        start = ["heroku", "config:set"] if self.on_heroku else ["export"]
        return shlex.join([*start, *(f"{name}={value}" for name, value in values.items())])

    def unset_variable(self, name: str) -> str:
        """Return a command that unsets a variable of the service."""
        return f"heroku config:unset {name}" if self.on_heroku else f"unset {name}"

    @property
    def set_clock(self) -> str:
        """The command that corrects the clock of the machine."""
        return "heroku ps:restart" if self.on_heroku else "sudo timedatectl set-ntp true"
