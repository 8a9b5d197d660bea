/** What commands print: JSON for programs, a table for people; errors on stderr in one line. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { OperatorError } from '../operator/input.ts';

export type Row = Readonly<Record<string, unknown>>;

/**
 * Prints one thing or a list in the form the command was asked for.
 * @param drawn what people get instead of a table
 */
export function print(command: Command, result: Row | readonly Row[], drawn?: string): void {
  const isForPeople = Array.isArray(result) || drawn !== undefined;
  const { format = isForPeople && process.stdout.isTTY ? 'table' : 'json' } = command.optsWithGlobals<{
    format?: string;
  }>();
  if (format === 'json') console.log(escaped(JSON.stringify(result, null, 2), /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu));
  else console.log(drawn ?? (Array.isArray(result) ? table(result) : facts(result as Row)));
}

function facts(row: Row): string {
  const lines = Object.entries(row).map(([name, value]) => [cell(name), cell(value)] as const);
  const width = Math.max(0, ...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

export function table(rows: readonly Row[]): string {
  const [first] = rows;
  if (!first) return '(none)';
  const names = Object.keys(first);
  const widths = names.map((name) => Math.max(name.length, ...rows.map((row) => cell(row[name]).length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((value, index) => value.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd();
  return [
    line(names.map((name) => name.toUpperCase())),
    ...rows.map((row) => line(names.map((name) => cell(row[name])))),
  ].join('\n');
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(cell).join(' ');
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return escaped(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu);
}

/**
 * Names may come from other domains, and the terminal obeys more than JSON escapes: what controls it, turns the direction or ends a line is
 * shown in JSON's way.
 */
function escaped(text: string, what: RegExp): string {
  const unit = (code: number) => `\\u${code.toString(16).padStart(4, '0')}`;
  return text.replace(what, (character) =>
    Array.from({ length: character.length }, (_, at) => unit(character.charCodeAt(at))).join(''),
  );
}

/**
 * Reads the JSON of `--file F`; `-` is standard input.
 * @throws OperatorError when it cannot be read or is not a JSON object
 */
export async function readInput(file: string): Promise<Readonly<Record<string, unknown>>> {
  const source = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8')).catch(() => {
    throw new OperatorError(`--file: ${file} cannot be read.`);
  });
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (error) {
    throw new OperatorError(`--file: is not JSON${whereOf(error as Error, source)}.`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new OperatorError('--file: must hold a JSON object.');
  return value as Record<string, unknown>;
}

/** Where the parser stopped, if it says so. Its own words may quote what stands there, which may be a secret. */
function whereOf({ message }: Error, source: string): string {
  if (message.startsWith('Unexpected end')) return ': it ends too early';
  const position = /at position (\d+)/.exec(message)?.[1];
  if (position === undefined) return '';
  const lines = source.slice(0, Number(position)).split('\n');
  return `: line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`;
}

/** `--limit`, of the commands that list what may be many. */
export function limitOption(): Option {
  return new Option('--limit <n>', 'how many at most').default(100).argParser(wholeNumber(1, 10_000));
}

/** Reads an option's number; anything else is a command line that makes no sense. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/**
 * @param group whose `list` shows those there are
 * @throws OperatorError when there is nothing
 */
export function found<T>(value: T | undefined, what: string, group = `${what.split(' ').at(-1)}s`): T {
  if (value === undefined)
    throw new OperatorError(`There is no such ${what}: \`gatehouse ${group} list\` shows those there are.`);
  return value;
}

/** Of a text with line breaks, one line. */
export function onOneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ');
}
