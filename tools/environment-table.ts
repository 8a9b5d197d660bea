/** Prints the README's table of environment variables from the schema that reads them: `npm run docs:environment`. */
import { fileURLToPath } from 'node:url';
import { environment } from '../src/config.ts';

export function environmentTable(): string {
  const rows = Object.entries(environment).map(([name, schema]) => {
    const initial = schema.safeParse(undefined);
    const value = initial.success && initial.data !== undefined ? shown(initial.data) : '';
    return `| \`${name}\` | ${value === '' ? '' : `\`${value}\``} | ${schema.description ?? ''} |`;
  });
  return ['| variable | default | |', '| --- | --- | --- |', ...rows].join('\n');
}

function shown(value: unknown): string {
  if (value === true) return 'on';
  return value === false ? 'off' : String(value);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(`${environmentTable()}\n`);
