/** `gatehouse clients …` */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { changeClient, registerClient, rotateSecret } from '../operator/clients.ts';
import { OperatorError } from '../operator/users.ts';
import {
  deleteClient,
  findClientRecord,
  listClientRecords,
  setClientDisabled,
  setClientLogo,
} from '../postgres/clients.pg.ts';
import { sha256 } from '../protocol/secrets.ts';
import { found, print, type Row, readInput } from './output.ts';
import { inWorkplace } from './workplace.ts';

export function clientCommands(program: Command): void {
  const clients = program.command('clients').description('Register and manage clients');

  clients
    .command('create')
    .description('Register a client; a generated secret is shown once')
    .requiredOption('--file <file>', 'RFC 7591 metadata and Gatehouse extensions as JSON; - for standard input')
    .action(async ({ file }, command) => {
      const input = await readInput(file);
      const client = await inWorkplace(({ database, rules, context }) =>
        registerClient(database, input, rules, context),
      );
      warnIgnored(client.ignored);
      print(command, {
        client_id: client.clientId,
        ...(client.clientSecret !== undefined && { client_secret: client.clientSecret, client_secret_expires_at: 0 }),
        ...client.metadata,
      });
    });

  clients
    .command('list')
    .description('List clients')
    .option('--after <id>', 'begin after this client id', '')
    .option('--limit <n>', 'how many at most', '100')
    .action(async ({ after, limit }, command) => {
      const records = await inWorkplace(({ database }) => listClientRecords(database, after, Number(limit)));
      print(
        command,
        records.map(
          ({ id, metadata, disabled, createdAt }): Row => ({
            client_id: id,
            client_name: metadata.client_name ?? null,
            token_endpoint_auth_method: metadata.token_endpoint_auth_method,
            grant_types: metadata.grant_types,
            disabled,
            created_at: createdAt,
          }),
        ),
      );
    });

  clients
    .command('show <client_id>')
    .description('Show a client')
    .action(async (id, _options, command) => {
      const record = found(await inWorkplace(({ database }) => findClientRecord(database, id)), 'client');
      print(command, {
        client_id: record.id,
        ...record.metadata,
        disabled: record.disabled,
        secrets: record.secrets.map(({ expiresAt }) => ({ expires_at: expiresAt })),
      });
    });

  clients
    .command('update <client_id>')
    .description('Change a client: fields of the file replace its own, null removes one')
    .option('--file <file>', 'metadata as JSON; - for standard input')
    .option('--logo <file>', 'PNG, JPEG or WebP file shown on its consent page')
    .option('--disable', 'nothing it holds works any more')
    .option('--enable', 'undo --disable')
    .action(async (clientId, { file, logo, disable, enable }, command) => {
      const changes = file === undefined ? {} : await readInput(file);
      const picture = logo === undefined ? undefined : await readLogo(logo);
      const changed = await inWorkplace(async ({ database, rules, context }) => {
        const record = found(await findClientRecord(database, clientId), 'client');
        const outcome = await changeClient(database, record, changes, rules, context.now());
        if (picture) await setClientLogo(database, record.id, picture);
        if (disable || enable) await setClientDisabled(database, record.id, Boolean(disable), context.now());
        return {
          client_id: record.id,
          ...outcome.metadata,
          disabled: disable ? true : enable ? false : record.disabled,
          ignored: outcome.ignored,
        };
      });
      const { ignored, ...shown } = changed;
      warnIgnored(ignored.filter((name) => name !== 'client_id'));
      print(command, shown);
    });

  clients
    .command('delete <client_id>')
    .description('Delete a client and end everything it holds; its id is never given again')
    .action(async (clientId, _options, command) => {
      const outcome = await inWorkplace(({ database, context }) => deleteClient(database, clientId, context.now()));
      found(outcome === 'deleted' ? outcome : undefined, 'client');
      print(command, { client_id: clientId, deleted: true });
    });

  clients
    .command('rotate-secret <client_id>')
    .description('Give a client a new secret, shown once; the old ones go on for a while')
    .option('--overlap <seconds>', 'how long the old secrets still work', '86400')
    .action(async (clientId, { overlap }, command) => {
      const seconds = Number(overlap);
      if (!Number.isInteger(seconds) || seconds < 0) throw new OperatorError('--overlap: must be a number of seconds.');
      const rotated = await inWorkplace(async ({ database, context }) => {
        const record = found(await findClientRecord(database, clientId), 'client');
        if (record.metadata.token_endpoint_auth_method === 'none')
          throw new OperatorError('A public client has no secret.');
        return rotateSecret(database, clientId, seconds, context);
      });
      print(command, {
        client_id: clientId,
        client_secret: rotated.value,
        client_secret_expires_at: 0,
        others_expire_at: rotated.othersEnd,
      });
    });
}

function warnIgnored(names: readonly string[]): void {
  if (names.length > 0) console.error(`gatehouse: not known here and ignored: ${names.join(', ')}`);
}

const LOGO_MOST = 256 * 1024;

/** By its first bytes, not its name: what is served with an image type is an image. */
async function readLogo(file: string): Promise<{ mediaType: string; bytes: Buffer; digest: string }> {
  const bytes = await readFile(file).catch(() => {
    throw new OperatorError(`--logo: ${file} cannot be read.`);
  });
  const mediaType = imageType(bytes);
  if (mediaType === undefined) throw new OperatorError('--logo: must be a PNG, JPEG or WebP file.');
  if (bytes.length > LOGO_MOST) throw new OperatorError('--logo: must not be larger than 256 KiB.');
  return { mediaType, bytes, digest: sha256(bytes).toString('hex').slice(0, 12) };
}

function imageType(bytes: Buffer): string | undefined {
  if (bytes.subarray(0, 8).toString('hex') === '89504e470d0a1a0a') return 'image/png';
  if (bytes.subarray(0, 3).toString('hex') === 'ffd8ff') return 'image/jpeg';
  if (bytes.subarray(0, 4).toString() === 'RIFF' && bytes.subarray(8, 12).toString() === 'WEBP') return 'image/webp';
  return undefined;
}
