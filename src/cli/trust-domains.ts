/** `gatehouse trust-domains …` */
import type { Command } from 'commander';
import { addTrustDomain, changeTrustDomain, removeTrustDomain } from '../operator/trust-domains.ts';
import { findTrustDomain, listTrustDomains } from '../postgres/trust-domains.pg.ts';
import { found, print, readInput } from './output.ts';
import { inWorkplace } from './workplace.ts';

export function trustDomainCommands(program: Command): void {
  const domains = program
    .command('trust-domains')
    .description('Register and manage other authorization servers, whose tokens are taken or for whom grants are made');

  domains
    .command('create')
    .description('Register a trust domain; what its tokens are good for is said by exchange policies')
    .requiredOption('--file <file>', '{ "issuer", "name", "jwks" or "jwks_uri", … } as JSON; - for standard input')
    .action(async ({ file }, command) => {
      const input = await readInput(file);
      print(command, {
        ...(await inWorkplace((place) => addTrustDomain(place.database, input, place, place.context.now()))),
      });
    });

  domains
    .command('list')
    .description('List trust domains')
    .action(async (_options, command) => {
      const all = await inWorkplace(({ database }) => listTrustDomains(database));
      print(
        command,
        all.map(({ issuer, name, jwks, jwks_uri, signing_algs }) => ({
          issuer,
          name,
          keys: jwks_uri ?? (jwks ? 'registered' : null),
          signing_algs,
        })),
      );
    });

  domains
    .command('show <issuer>')
    .description('Show a trust domain')
    .action(async (issuer, _options, command) => {
      print(command, { ...known(await inWorkplace(({ database }) => findTrustDomain(database, issuer))) });
    });

  domains
    .command('update <issuer>')
    .description('Change a trust domain: fields of the file replace its own, null removes one')
    .requiredOption('--file <file>', 'metadata as JSON; - for standard input')
    .action(async (issuer, { file }, command) => {
      const changes = await readInput(file);
      const changed = await inWorkplace(async (place) => {
        const before = known(await findTrustDomain(place.database, issuer));
        return changeTrustDomain(place.database, before, changes, place, place.context.now());
      });
      print(command, { ...changed });
    });

  domains
    .command('delete <issuer>')
    .description('Delete a trust domain that no exchange policy names: nothing it signs is taken any more')
    .action(async (issuer, _options, command) => {
      const outcome = await inWorkplace(({ database }) => removeTrustDomain(database, issuer));
      known(outcome === 'deleted' ? outcome : undefined);
      print(command, { issuer, deleted: true });
    });
}

function known<T>(value: T | undefined): T {
  return found(value, 'trust domain', 'trust-domains');
}
