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
import { OAuthError, Unavailable } from './protocol/errors.ts';

const program = new Command('gatehouse')
  .description('An OAuth 2.0 and OpenID Connect authorization server')
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`gatehouse: ${text.replace(/^error: /, '')}`) })
  .showHelpAfterError('(see gatehouse --help)');

for (const register of [runCommands, clientCommands, userCommands, resourceCommands, keyCommands, grantCommands])
  register(program);

// Commands of commands inherit neither options nor manners by themselves.
for (const command of program.commands.flatMap((parent) => [parent, ...parent.commands])) {
  command.exitOverride().configureOutput(program.configureOutput());
  if (command.commands.length === 0) {
    command.addOption(new Option('--format <format>', 'how to print the result').choices(['json', 'table']));
  }
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error(`gatehouse: ${inOneLine(error)}`);
    process.exitCode = 1;
  }
}

function inOneLine(error: unknown): string {
  if (error instanceof Unavailable)
    return 'the database cannot be reached: check DATABASE_URL and that PostgreSQL runs.';
  if (error instanceof ConfigurationError || error instanceof OperatorError || error instanceof OAuthError)
    return error.message;
  const { message, cause } = error as Error;
  const told = cause instanceof Error ? `${message} ${cause.message}` : String(message);
  return told.replaceAll(/\s*\n\s*/g, ' ');
}
