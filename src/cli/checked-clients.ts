/** What profiles have against the clients that are registered, before a server moves to another one. */
import { checkClient, type Finding } from '../operator/profile-check.ts';
import { listClientRecords } from '../postgres/clients.pg.ts';
import type { ClientRecord } from '../protocol/client.ts';
import { type Profile, profileOf } from '../protocol/profile.ts';
import type { Workplace } from './workplace.ts';

type Place = Pick<Workplace, 'database' | 'clientCertificates'>;

export interface CheckedClient {
  readonly id: string;
  /** The profile it is held to. */
  readonly profile: string;
  readonly problems: readonly string[];
}

/** @param demanded what the server demands: a client may be registered for more */
export function checkOne(
  client: ClientRecord,
  demanded: Profile,
  { clientCertificates }: Pick<Place, 'clientCertificates'>,
): Finding[] {
  return checkClient(client.metadata, profileOf(client, demanded), clientCertificates);
}

/** Rows read at once. */
const PAGE = 500;

/** All clients, in the order of their ids. */
export async function* checkedClients(demanded: Profile, place: Place): AsyncGenerator<CheckedClient> {
  for (let after = ''; ; ) {
    const records = await listClientRecords(place.database, after, PAGE);
    for (const record of records) {
      const findings = checkOne(record, demanded, place);
      const problems = findings.flatMap(({ problem }) => (problem === '' ? [] : [problem]));
      yield { id: record.id, profile: profileOf(record, demanded).name, problems };
    }
    const last = records.at(-1);
    if (last === undefined || records.length < PAGE) return;
    after = last.id;
  }
}
