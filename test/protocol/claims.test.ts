import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CLAIM_WORDS,
  CLAIMS_BY_SCOPE,
  claimsOfScope,
  displayName,
  nameKey,
  type User,
  userClaims,
  usernameProblem,
} from '../../src/protocol/claims.ts';

const ADDRESS = { formatted: 'Christ Church\nOxford', country: 'UK' };
const alice: User = {
  id: '0f8fad5b-d9cb-469f-a165-70867728950e',
  username: 'alice',
  claims: {
    name: 'Alice Liddell',
    given_name: 'Alice',
    birthdate: '1992-05-04',
    updated_at: 1_700_000_000,
    email: 'alice@people.example',
    email_verified: false,
    phone_number: '+44 1865 000000',
    phone_number_verified: true,
    address: ADDRESS,
  },
};

describe('claims by scope (OpenID Connect Core §5.4)', () => {
  it.each<[string, Record<string, unknown>]>([
    ['openid', {}],
    [
      'openid profile',
      { name: 'Alice Liddell', given_name: 'Alice', birthdate: '1992-05-04', updated_at: 1_700_000_000 },
    ],
    ['email', { email: 'alice@people.example', email_verified: false }],
    ['phone', { phone_number: '+44 1865 000000', phone_number_verified: true }],
    ['address', { address: ADDRESS }],
    ['photos.read offline_access', {}],
    ['constructor __proto__ toString', {}],
  ])('%s', (scope, claims) => {
    expect(claimsOfScope(alice, scope.split(' '))).toEqual(claims);
  });

  it('names every standard claim in one scope', () => {
    const named = Object.values(CLAIMS_BY_SCOPE).flat();
    expect([...named].sort()).toEqual(Object.keys(userClaims.shape).sort());
    expect(new Set(named).size).toBe(named.length);
  });

  it('has words for every standard claim', () => {
    expect(Object.keys(CLAIM_WORDS).sort()).toEqual(Object.keys(userClaims.shape).sort());
  });

  it('never sends null or an empty text (§5.3.2), but sends false and 0', () => {
    const stored = { ...alice, claims: { name: '', nickname: null, email_verified: false, updated_at: 0 } };
    expect(claimsOfScope(stored as unknown as User, ['profile', 'email'])).toEqual({
      email_verified: false,
      updated_at: 0,
    });
  });

  it.each([
    { name: '' },
    { name: null },
    { email: 'not an address' },
    { email: '\uFF41lice@people.example' },
    { email_verified: 'true' },
    { phone_number_verified: 1 },
    { updated_at: '1700000000' },
    { updated_at: -1 },
    { birthdate: '4.5.1992' },
    { picture: 'not a URL' },
    { address: 'Oxford' },
    { address: { city: 'Oxford' } },
    { sub: 'somebody else' },
    { admin: true },
  ])('does not store %j', (claims) => {
    expect(userClaims.safeParse(claims).success).toBe(false);
  });

  it('greets by name, else by user name', () => {
    expect(displayName(alice)).toBe('Alice Liddell');
    expect(displayName({ ...alice, claims: {} })).toBe('alice');
  });
});

describe('user names', () => {
  it.each<[string, string?]>([
    ['alice'],
    ['Alice_Liddell-2.0'],
    ['алиса'],
    ['愛麗絲'],
    ['7'],
    ['a'.repeat(100)],
    ['alice@people.example', 'alice@people.example'],
    ['Alice@People.example', 'alice@people.example'],
  ])('%s is fine (e-mail %s)', (username, email) => {
    expect(usernameProblem(username, email)).toBeUndefined();
  });

  it.each<[string, string?]>([
    [''],
    [' '],
    ['al ice'],
    ['alice '],
    ['a'.repeat(101)],
    ['alice\n'],
    ['<alice>'],
    ['al/ice'],
    ['al\u200Bice'],
    ['al\u202Eice'],
    ['alice@people.example'],
    ['alice@people.example', 'bob@people.example'],
    ['alice＠people.example'],
    ['@'],
    // Letters and digits that normalise into something else.
    ['\u2474'],
    ['\uFDFA'],
    ['\u037Aalice'],
    ['\u00BD'],
  ])('%j is not (e-mail %s)', (username, email) => {
    expect(usernameProblem(username, email)).toEqual(expect.any(String));
  });

  it('that look the same are the same', () => {
    expect(nameKey('Alice')).toBe(nameKey('alice'));
    expect(nameKey('caf\u00E9')).toBe(nameKey('cafe\u0301'));
    expect(nameKey('\uFF41lice')).toBe('alice');
    expect(nameKey('o\uFB03ce')).toBe('office');
  });

  it('keep one key however often they are normalised', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        expect(nameKey(name.normalize('NFKC'))).toBe(nameKey(name));
      }),
    );
  });
});
