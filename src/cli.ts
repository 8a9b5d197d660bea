/** The one binary: `gatehouse <command>`. Exit code 0, 1 for a refusal, 2 for a command line that makes no sense. */
import { CommanderError } from 'commander';
import { onOneLine } from './cli/output.ts';
import { createProgram } from './cli/program.ts';
import { ConfigurationError } from './config.ts';
import { OperatorError } from './operator/input.ts';
import { turnedAway } from './postgres/database.ts';
import { OAuthError, Unavailable } from './protocol/errors.ts';

// Whoever reads our output may have seen enough (`gatehouse users list | head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await createProgram().parseAsync();
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
