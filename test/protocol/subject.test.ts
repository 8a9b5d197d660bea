import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AuthorizationServer } from '../../src/protocol/authorization-server.ts';
import { checkClientMetadata } from '../../src/protocol/client.ts';
import { subjectOf } from '../../src/protocol/subject.ts';
import { clientOf, rulesOfEverything } from './samples.ts';

const serverWith = (pairwise: Buffer) => ({ sharedKeys: { pairwise } }) as unknown as AuthorizationServer;
const server = serverWith(Buffer.alloc(32, 7));
const user = { id: '0f8fad5b-d9cb-469f-a165-70867728950e' };
const subjectAt = (redirectUri: string, metadata: object = {}, of = user, by = server) =>
  subjectOf(of, clientOf({ redirect_uris: [redirectUri], subject_type: 'pairwise', ...metadata }), by);

describe('subjects (OpenID Connect Core §8)', () => {
  it('public: the person’s own id, for every client, and for those that registered nothing', () => {
    for (const metadata of [{}, { subject_type: 'public' }, { sector_identifier_uri: 'https://sector.example/s' }])
      expect(subjectOf(user, clientOf(metadata), server)).toBe(user.id);
  });

  it('pairwise: HMAC-SHA256 of sector and id, each with its length before it', () => {
    // Computed by openssl: a change here would make everybody a stranger to every client.
    expect(subjectAt('https://app.example/callback')).toBe('Y5DsT4fSi5ykttH3HJu-1s3Phlp9rtcjE4-TmiKR82w');
  });

  it.each<[string, string, object]>([
    ['another port', 'https://app.example:8443/callback', {}],
    ['another path', 'https://app.example/elsewhere?x=y', {}],
    ['another scheme', 'http://app.example/callback', {}],
    ['upper case', 'https://APP.example/callback', {}],
    [
      'a sector identifier at that host',
      'https://other.example/',
      { sector_identifier_uri: 'https://app.example:444/s' },
    ],
  ])('pairwise: the host is the sector, so %s is the same one', (_what, redirectUri, metadata) => {
    expect(subjectAt(redirectUri, metadata)).toBe(subjectAt('https://app.example/callback'));
  });

  it('pairwise: another host, person or key makes another subject', () => {
    const subjects = [
      subjectAt('https://app.example/'),
      subjectAt('https://sub.app.example/'),
      subjectAt('https://app.example/', { sector_identifier_uri: 'https://sector.example/s' }),
      subjectAt('https://app.example/', {}, { id: '0f8fad5b-d9cb-469f-a165-70867728950f' }),
      subjectAt('https://app.example/', {}, user, serverWith(Buffer.alloc(32, 8))),
    ];
    expect(new Set(subjects).size).toBe(subjects.length);
  });

  it('of either kind is no client id that could be registered (FAPI 2.0 SP §6.7)', () => {
    const rules = rulesOfEverything();
    const registered = (client_id: string) => () =>
      checkClientMetadata({ client_id, grant_types: ['client_credentials'] }, rules);
    fc.assert(
      fc.property(fc.uuid(), fc.domain(), (id, host) => {
        const subject = subjectAt(`https://${host}/`, {}, { id }, serverWith(randomBytes(32)));
        expect(subject).toMatch(/^[\x21-\x7E]{1,255}$/);
        for (const taken of [subject, id, id.toUpperCase()]) expect(registered(taken)).toThrow('client_id');
      }),
      { numRuns: 50 },
    );
  });
});
