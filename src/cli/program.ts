/** The commands of the one binary. */
import { Command, Option } from 'commander';
import { callCommands } from './calls.ts';
import { clientCommands } from './clients.ts';
import { exchangePolicyCommands } from './exchange-policies.ts';
import { grantCommands } from './grants.ts';
import { keyCommands } from './keys.ts';
import { logoutCommands } from './logouts.ts';
import { onOneLine } from './output.ts';
import { profileCommands } from './profile.ts';
import { resourceCommands } from './resources.ts';
import { runCommands } from './run.ts';
import { trustDomainCommands } from './trust-domains.ts';
import { userCommands } from './users.ts';

/** @returns the whole command line, to be parsed: it throws commander's errors and has told them on stderr by then */
export function createProgram(): Command {
  const program = new Command('gatehouse').description('An OAuth 2.0 and OpenID Connect authorization server');

  for (const register of [
    runCommands,
    clientCommands,
    userCommands,
    resourceCommands,
    exchangePolicyCommands,
    trustDomainCommands,
    callCommands,
    keyCommands,
    grantCommands,
    logoutCommands,
    profileCommands,
  ])
    register(program);

  // Commands of commands inherit neither options nor manners by themselves.
  for (const command of [program, ...program.commands.flatMap((parent) => [parent, ...parent.commands])]) {
    const path =
      command.parent && command.parent !== program ? `${command.parent.name()} ${command.name()}` : command.name();
    const help = command === program ? 'gatehouse --help' : `gatehouse ${path} --help`;
    command.exitOverride().configureOutput({
      // The commands there are, for whoever left theirs out; what is wrong is told below, in its one line.
      writeErr: (text) => process.stdout.write(text),
      outputError: (text) =>
        console.error(`gatehouse: ${onOneLine(text.replace(/^error: /, '').trim())} (see ${help})`),
    });
    if (command.commands.length === 0) {
      command.addOption(new Option('--format <format>', 'how to print the result').choices(['json', 'table']));
    }
  }
  return program;
}
