import { describe, expect, it } from 'vitest';
import { Parameters } from '../../src/protocol/message.ts';
import { narrow } from '../../src/protocol/target.ts';
import { authorizationOf, clientOf, ISSUER, PHOTOS, STORAGE, someResources } from './samples.ts';

interface Granted {
  readonly scope: string;
  readonly resources?: string[];
}

function target(granted: Granted, asked: [string, string][]) {
  const authorization = authorizationOf({ scope: granted.scope.split(' '), resources: granted.resources ?? [] });
  return narrow(authorization, new Parameters(asked), someResources(), ISSUER);
}

const BOTH = 'openid profile photos.read photos.write storage.read';

describe('which API a token is for (RFC 8707 §2.2)', () => {
  it.each<[string, Granted, [string, string][], string[], string]>([
    ['no API scope: the issuer', { scope: 'openid profile' }, [], [ISSUER], 'openid profile'],
    ['no openid either: still the issuer', { scope: 'offline_access' }, [], [ISSUER], 'offline_access'],
    ['one API: that one', { scope: 'photos.read' }, [], [PHOTOS], 'photos.read'],
    ['openid adds the issuer', { scope: 'openid photos.read' }, [], [PHOTOS, ISSUER], 'openid photos.read'],
    [
      'several: the one that is named',
      { scope: BOTH },
      [['resource', STORAGE]],
      [STORAGE, ISSUER],
      'openid profile storage.read',
    ],
    [
      'named twice is named once',
      { scope: BOTH },
      [
        ['resource', STORAGE],
        ['resource', STORAGE],
      ],
      [STORAGE, ISSUER],
      'openid profile storage.read',
    ],
    [
      'several: the one the narrowed scope names',
      { scope: BOTH },
      [['scope', 'photos.write']],
      [PHOTOS],
      'photos.write',
    ],
    ['several: the issuer when the scope is its own', { scope: BOTH }, [['scope', 'openid']], [ISSUER], 'openid'],
    [
      'asked for one at the authorization endpoint',
      { scope: BOTH, resources: [PHOTOS] },
      [],
      [PHOTOS, ISSUER],
      'openid profile photos.read photos.write',
    ],
    [
      'asked for both there, one now',
      { scope: BOTH, resources: [PHOTOS, STORAGE] },
      [['resource', STORAGE]],
      [STORAGE, ISSUER],
      'openid profile storage.read',
    ],
    [
      'asked for both there, one meant by scope',
      { scope: BOTH, resources: [PHOTOS, STORAGE] },
      [['scope', 'openid storage.read']],
      [STORAGE, ISSUER],
      'openid storage.read',
    ],
    [
      'scope and resource',
      { scope: BOTH },
      [
        ['scope', 'photos.read storage.read'],
        ['resource', PHOTOS],
      ],
      [PHOTOS],
      'photos.read',
    ],
    [
      'the order of the scope is the request’s',
      { scope: BOTH },
      [['scope', 'photos.write openid photos.read']],
      [PHOTOS, ISSUER],
      'photos.write openid photos.read',
    ],
    [
      'personal scopes do not travel to an API without openid',
      { scope: 'profile photos.read' },
      [],
      [PHOTOS],
      'photos.read',
    ],
  ])('%s', (_what, granted, asked, audience, scope) => {
    expect(target(granted, asked)).toMatchObject({ audience, scope: scope.split(' ') });
  });

  it.each<[string, Granted, [string, string][], string]>([
    ['several APIs, none named', { scope: BOTH }, [], 'invalid_target'],
    [
      'two named',
      { scope: BOTH },
      [
        ['resource', PHOTOS],
        ['resource', STORAGE],
      ],
      'invalid_target',
    ],
    ['an unknown one', { scope: BOTH }, [['resource', 'https://evil.example']], 'invalid_target'],
    [
      'a known one and an unknown one',
      { scope: BOTH },
      [
        ['resource', PHOTOS],
        ['resource', 'https://evil.example'],
      ],
      'invalid_target',
    ],
    ['a slash more', { scope: BOTH }, [['resource', `${PHOTOS}/`]], 'invalid_target'],
    ['another case', { scope: BOTH }, [['resource', 'https://PHOTOS.example']], 'invalid_target'],
    ['not an address', { scope: BOTH }, [['resource', 'photos']], 'invalid_target'],
    ['one whose scopes were not granted', { scope: 'openid photos.read' }, [['resource', STORAGE]], 'invalid_target'],
    [
      'one that was not asked for at the authorization endpoint',
      { scope: BOTH, resources: [PHOTOS] },
      [['resource', STORAGE]],
      'invalid_target',
    ],
    ['asked for both there and none now', { scope: BOTH, resources: [PHOTOS, STORAGE] }, [], 'invalid_target'],
    [
      'more scope than granted',
      { scope: 'openid photos.read' },
      [['scope', 'photos.read photos.write']],
      'invalid_scope',
    ],
    ['scope in another case', { scope: 'photos.read' }, [['scope', 'Photos.read']], 'invalid_scope'],
    [
      'scope of another API than the one named',
      { scope: BOTH },
      [
        ['scope', 'photos.read'],
        ['resource', STORAGE],
      ],
      'invalid_scope',
    ],
    ['a malformed scope', { scope: BOTH }, [['scope', 'photos.read "']], 'invalid_scope'],
    ['a name every object has', { scope: 'photos.read' }, [['scope', 'constructor']], 'invalid_scope'],
  ])('refuses %s', (_what, granted, asked, code) => {
    expect(() => target(granted, asked)).toThrow(expect.objectContaining({ code, status: 400 }));
  });

  describe('when an operator took something away since it was granted', () => {
    const granted = ['photos.read', 'storage.read', 'gone.read'];
    const ask = (scope: string, parameters: [string, string][] = []) =>
      narrow(
        authorizationOf({ client: clientOf({ scope }), scope: granted }),
        new Parameters(parameters),
        someResources(),
        ISSUER,
      );

    it('the rest is still given', () => {
      expect(ask('openid photos.read')).toMatchObject({ scope: ['photos.read'], audience: [PHOTOS] });
    });

    it('what was taken cannot be asked for any more', () => {
      for (const [parameters, code] of [
        [[['scope', 'storage.read']], 'invalid_scope'],
        [[['scope', 'gone.read']], 'invalid_scope'],
        [[['resource', STORAGE]], 'invalid_target'],
      ] as [[string, string][], string][]) {
        expect(() => ask('photos.read', parameters)).toThrow(expect.objectContaining({ code }));
      }
    });

    it('nothing is left: the grant is over', () => {
      expect(() => ask('openid')).toThrow(expect.objectContaining({ code: 'invalid_grant' }));
    });
  });
});
