/** `gatehouse clients …` */
import type { Command } from 'commander';
import { changeClient, registerClient, rotateSecret } from '../operator/clients.ts';
import { OperatorError } from '../operator/input.ts';
import { fetchLogo, readLogo } from '../operator/logos.ts';
import { certificateProblem } from '../operator/profile-check.ts';
import {
  deleteClient,
  findClientRecord,
  listClientRecords,
  removeClientLogo,
  setClientDisabled,
  setClientLogo,
} from '../postgres/clients.pg.ts';
import { listResources } from '../postgres/resources.pg.ts';
import { type ClientMetadata, hasSecret, toClient, unknownFields } from '../protocol/client.ts';
import { isLoopback } from '../protocol/redirect-uri.ts';
import { Resources, toResource } from '../protocol/resource.ts';
import { printable } from '../protocol/wrong-values.ts';
import { found, limitOption, print, type Row, readInput, wholeNumber } from './output.ts';
import { inWorkplace, type Workplace } from './workplace.ts';

export function clientCommands(program: Command): void {
  const clients = program.command('clients').description('Register and manage clients');

  clients
    .command('create')
    .description('Register a client; a generated secret is shown once')
    .requiredOption('--file <file>', 'RFC 7591 metadata and Gatehouse extensions as JSON; - for standard input')
    .action(async ({ file }, command) => {
      const input = await readInput(file);
      const client = await inWorkplace(async (place) => {
        const { database, rules, context, allowLoopbackFetch } = place;
        // Before anything is refused: a field that is spelled wrongly may be the reason.
        warnIgnored(unknownFields(input, rules));
        const registered = await registerClient(database, input, rules, context, allowLoopbackFetch);
        await warn(registered.metadata, place);
        if (registered.metadata.logo_uri !== undefined) await takeLogo(place, registered.clientId, registered.metadata);
        return registered;
      });
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
    .addOption(limitOption())
    .action(async ({ after, limit }, command) => {
      const records = await inWorkplace(({ database }) => listClientRecords(database, after, limit));
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
      const changed = await inWorkplace(async (place) => {
        const { database, rules, context, allowLoopbackFetch } = place;
        const record = found(await findClientRecord(database, clientId), 'client');
        warnIgnored(unknownFields(changes, rules));
        const outcome = await changeClient(database, record, changes, rules, context.now(), allowLoopbackFetch);
        await warn(outcome.metadata, place);
        if (picture) await setClientLogo(database, record.id, picture);
        else if (changes.logo_uri !== undefined) await takeLogo(place, record.id, outcome.metadata);
        if (disable || enable) await setClientDisabled(database, record.id, Boolean(disable), context.now());
        return {
          client_id: record.id,
          ...outcome.metadata,
          disabled: disable ? true : enable ? false : record.disabled,
        };
      });
      print(command, changed);
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
    .option('--overlap <seconds>', 'how long the old secrets still work', wholeNumber(0, 31_536_000), 86_400)
    .action(async (clientId, { overlap }, command) => {
      const rotated = await inWorkplace(async ({ database, context }) => {
        const record = found(await findClientRecord(database, clientId), 'client');
        if (!hasSecret(toClient(record))) throw new OperatorError('This client authenticates without a secret.');
        return rotateSecret(database, clientId, overlap, context);
      });
      print(command, {
        client_id: clientId,
        client_secret: rotated.value,
        client_secret_expires_at: 0,
        others_expire_at: rotated.othersEnd,
      });
    });
}

/** What is accepted, for the order in which things are registered is free, and does not work as they stand. */
async function warn(metadata: ClientMetadata, place: Workplace): Promise<void> {
  warnUnreachable(metadata, place);
  const unreached = certificateProblem(metadata, place.clientCertificates);
  if (unreached !== undefined) console.error(`gatehouse: ${unreached}; the variables here name none.`);
  const resources = new Resources((await listResources(place.database)).map(toResource));
  const { scope, authorizationDetailsTypes } = toClient({ ...UNREGISTERED, metadata });
  const unknown = {
    scope: scope.filter((token) => !resources.isKnownScope(token)),
    authorization_details_types: authorizationDetailsTypes.filter((type) => resources.ofType(type) === undefined),
  };
  for (const [field, names] of Object.entries(unknown)) {
    if (names.length > 0) console.error(`gatehouse: ${field}: no resource has ${names.map(printable).join(', ')} yet.`);
  }
}

const UNREGISTERED = { id: '', secrets: [], disabled: false, logoUrl: undefined };

/** What is accepted and will not be reached as things stand: better told now than found in the outbox. */
function warnUnreachable(
  { backchannel_logout_uri, jwks_uri }: ClientMetadata,
  { allowLoopbackFetch }: Workplace,
): void {
  for (const [name, uri] of Object.entries({ backchannel_logout_uri, jwks_uri })) {
    if (typeof uri !== 'string' || allowLoopbackFetch) continue;
    const { protocol, port } = new URL(uri);
    if (protocol === 'https:' && port === '' && !isLoopback(new URL(uri))) continue;
    console.error(
      `gatehouse: ${name} is on this machine or not on https, port 443: it is reached only with GATEHOUSE_ALLOW_LOOPBACK_FETCH=on.`,
    );
  }
}

function warnIgnored(names: readonly string[]): void {
  if (names.length > 0) console.error(`gatehouse: not known here and ignored: ${names.join(', ')}`);
}

/** Takes our copy of the picture `logo_uri` names; without one the client is shown by its initial, not by another's. */
async function takeLogo(place: Workplace, clientId: string, { logo_uri: uri }: ClientMetadata): Promise<void> {
  const logo = typeof uri === 'string' ? await fetchLogo(uri, place.allowLoopbackFetch) : undefined;
  if (typeof logo === 'string') {
    console.error(`gatehouse: logo_uri was not fetched (${logo}): its pages show an initial, or set one with --logo.`);
  }
  if (typeof logo === 'object') await setClientLogo(place.database, clientId, logo);
  else await removeClientLogo(place.database, clientId);
}
