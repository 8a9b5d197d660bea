/** The one binary: `gatehouse <command>`. Exit code 0, 1 for a refusal, 2 for a command line that makes no sense. */
import { Command, CommanderError, Option } from 'commander';
import { clientCommands } from './cli/clients.ts';
import { grantCommands } from './cli/grants.ts';
import { keyCommands } from './cli/keys.ts';
import { resourceCommands } from './cli/resources.ts';
import { runCommands } from './cli/run.ts';
import { userCommands } from './cli/users.ts';
import { ConfigurationError } from './config.ts';
import { OperatorError } from './operator/users.ts';
import { turnedAway } from './postgres/database.ts';
import { OAuthError, Unavailable } from './protocol/errors.ts';

const program = new Command('gatehouse').description('An OAuth 2.0 and OpenID Connect authorization server');

for (const register of [runCommands, clientCommands, userCommands, resourceCommands, keyCommands, grantCommands])
  register(program);

// Commands of commands inherit neither options nor manners by themselves.
for (const command of [program, ...program.commands.flatMap((parent) => [parent, ...parent.commands])]) {
  const path =
    command.parent && command.parent !== program ? `${command.parent.name()} ${command.name()}` : command.name();
  const help = command === program ? 'gatehouse --help' : `gatehouse ${path} --help`;
  command.exitOverride().configureOutput({
    // The commands there are, for whoever left theirs out; what is wrong is told below, in its one line.
    writeErr: (text) => process.stdout.write(text),
    outputError: (text) => console.error(`gatehouse: ${onOneLine(text.replace(/^error: /, '').trim())} (see ${help})`),
  });
  if (command.commands.length === 0) {
    command.addOption(new Option('--format <format>', 'how to print the result').choices(['json', 'table']));
  }
}

// Whoever reads our output may have seen enough (`gatehouse users list | head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
    if (process.exitCode === 2 && error.code === 'commander.help')
      console.error('gatehouse: name one of these commands.');
  } else {
    console.error(`gatehouse: ${inOneLine(error)}`);
    process.exitCode = 1;
  }
}

function inOneLine(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (!(cause instanceof Unavailable)) continue;
    const words = turnedAway(cause);
    return words === undefined
      ? 'the database cannot be reached: check DATABASE_URL and that PostgreSQL runs.'
      : `the database refuses us (${onOneLine(words)}): check DATABASE_URL.`;
  }
  if (error instanceof ConfigurationError || error instanceof OperatorError || error instanceof OAuthError)
    return onOneLine(error.message);
  const { message, cause } = error as Error;
  // Of a cause its first line: some go on with stacks.
  return onOneLine(cause instanceof Error ? `${message} ${cause.message.split('\n')[0]}` : String(message));
}

function onOneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ');
}
