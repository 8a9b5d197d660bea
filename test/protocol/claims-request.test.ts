import { describe, expect, it } from 'vitest';
import { type User, userClaims } from '../../src/protocol/claims.ts';
import {
  claimsBeyondScope,
  claimsRequested,
  NO_CLAIMS,
  parseClaimsRequest,
} from '../../src/protocol/claims-request.ts';

const ANY = { essential: false, values: undefined };
const parse = (value: unknown) => parseClaimsRequest(JSON.stringify(value), EVERY_SCOPE);

/** Scopes of a client that may ask for everything. */
const EVERY_SCOPE = ['openid', 'profile', 'email', 'address', 'phone'];

describe('the claims parameter (OpenID Connect Core §5.5)', () => {
  it.each<[string, unknown, unknown]>([
    ['null: voluntary, any value', { userinfo: { name: null } }, { idToken: {}, userinfo: { name: ANY } }],
    ['an empty member: the same', { userinfo: { name: {} } }, { idToken: {}, userinfo: { name: ANY } }],
    [
      'essential',
      { id_token: { auth_time: { essential: true } } },
      { idToken: { auth_time: { essential: true, values: undefined } }, userinfo: {} },
    ],
    [
      'one value',
      { id_token: { sub: { value: 'x' } } },
      { idToken: { sub: { essential: false, values: ['x'] } }, userinfo: {} },
    ],
    [
      'several values',
      { id_token: { acr: { essential: true, values: ['a', 'b'] } } },
      { idToken: { acr: { essential: true, values: ['a', 'b'] } }, userinfo: {} },
    ],
    [
      'a value that is not a text',
      { userinfo: { email_verified: { value: true } } },
      { idToken: {}, userinfo: { email_verified: { essential: false, values: [true] } } },
    ],
    [
      'both answers',
      { userinfo: { name: null }, id_token: { email: null } },
      { idToken: { email: ANY }, userinfo: { name: ANY } },
    ],
    ['nothing', {}, NO_CLAIMS],
    ['nothing of either', { userinfo: null, id_token: null }, NO_CLAIMS],
    [
      'members of other specifications',
      { verified_claims: {}, userinfo: { name: null } },
      { idToken: {}, userinfo: { name: ANY } },
    ],
    [
      'members of a claim nobody knows',
      { userinfo: { name: { purpose: 'x' } } },
      { idToken: {}, userinfo: { name: ANY } },
    ],
  ])('reads %s', (_what, value, expected) => {
    expect(parse(value)).toEqual(expected);
  });

  it.each(['https://claims.example/shoe_size', 'name#ja', 'iss', 'aud', 'nonce', 'constructor', '__proto__', ''])(
    'drops the claim %j, which nobody here knows',
    (name) => {
      const text = `{"userinfo":{${JSON.stringify(name)}:{"essential":true}},"id_token":{${JSON.stringify(name)}:null}}`;
      expect(parseClaimsRequest(text, EVERY_SCOPE)).toEqual(NO_CLAIMS);
    },
  );

  it.each<[string[], string[]]>([
    [['openid'], []],
    [['openid', 'photos.read'], []],
    [
      ['openid', 'email'],
      ['email', 'email_verified'],
    ],
    [['email'], ['email', 'email_verified']],
    [
      ['openid', 'phone', 'address'],
      ['address', 'phone_number'],
    ],
  ])('stands for no claims beyond those of the scopes a client is registered for: %j', (registered, expected) => {
    const asked = { name: null, email: { essential: true }, email_verified: null, phone_number: null, address: null };
    const text = JSON.stringify({ id_token: { ...asked, sub: { value: 'x' } }, userinfo: asked });
    const { idToken, userinfo } = parseClaimsRequest(text, registered);
    expect(Object.keys(userinfo).sort()).toEqual(expected);
    expect(Object.keys(idToken).sort()).toEqual([...expected, 'sub'].sort());
  });

  it.each([
    ['NUL', '\\u0000'],
    ['NUL behind a backslash', '\\\\\\u0000'],
    ['half of a character', '\\ud83d'],
    ['the other half', 'x\\uDC00x'],
  ])('is refused with %s in a value, however deep', (_what, text) => {
    for (const value of [`"${text}"`, `{"country":"${text}"}`, `{"${text}":1}`])
      expect(() => parseClaimsRequest(`{"id_token":{"address":{"value":${value}}}}`, EVERY_SCOPE)).toThrowError(
        expect.objectContaining({ code: 'invalid_request' }),
      );
    expect(() => parseClaimsRequest(`{"id_token":{"sub":{"values":["a","${text}"]}}}`, [])).toThrowError(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });

  it('takes whole characters, and text that only looks like those', () => {
    const values = ['🗝', '\\u0000', '\\\\ud83d'];
    expect(parse({ userinfo: { name: { values } } }).userinfo).toEqual({ name: { essential: false, values } });
  });

  it('is not there', () => expect(parseClaimsRequest(undefined, EVERY_SCOPE)).toEqual(NO_CLAIMS));

  it.each([
    '{',
    'null',
    '"text"',
    '[]',
    '{"userinfo":[]}',
    '{"userinfo":"name"}',
    '{"userinfo":{"name":true}}',
    '{"userinfo":{"name":"x"}}',
    '{"userinfo":{"name":{"essential":"true"}}}',
    '{"id_token":{"sub":{"values":"x"}}}',
    JSON.stringify({ id_token: { sub: { values: Array.from({ length: 21 }, String) } } }),
    JSON.stringify({ userinfo: { name: { value: 'x'.repeat(8192) } } }),
  ])('is refused as %.40s', (text) => {
    expect(() => parseClaimsRequest(text, EVERY_SCOPE)).toThrowError(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });
});

describe('what needs a consent of its own', () => {
  it.each<[string, object, string[], string[]]>([
    ['nothing asked for', {}, ['openid'], []],
    ['a claim no scope covers', { userinfo: { birthdate: null } }, ['openid'], ['birthdate']],
    ['one that a scope covers', { userinfo: { birthdate: null } }, ['openid', 'profile'], []],
    ['the same one twice', { userinfo: { email: null }, id_token: { email: null } }, ['openid'], ['email']],
    ['claims about the sign-in', { id_token: { sub: null, acr: null, auth_time: null } }, ['openid'], []],
    [
      'several, in one order',
      { userinfo: { picture: null }, id_token: { email: null } },
      ['openid'],
      ['email', 'picture'],
    ],
  ])('%s', (_what, asked, scope, beyond) => {
    expect(claimsBeyondScope(parse(asked), scope)).toEqual(beyond);
  });
});

describe('what answers a request', () => {
  const user: User = {
    id: '0f8fad5b-d9cb-469f-a165-70867728950e',
    username: 'carol',
    claims: userClaims.parse({ name: 'Carol', email_verified: false, address: { country: 'UK' } }),
  };
  it.each<[string, object, object]>([
    ['what was asked for', { name: null }, { name: 'Carol' }],
    ['not what is unknown of the person', { name: null, picture: { essential: true } }, { name: 'Carol' }],
    ['false is a value', { email_verified: null }, { email_verified: false }],
    ['the value asked for', { name: { value: 'Carol' } }, { name: 'Carol' }],
    ['one of the values asked for', { name: { values: ['Bob', 'Carol'] } }, { name: 'Carol' }],
    ['not another value', { name: { value: 'Bob' } }, {}],
    ['not any value of none', { name: { values: [] } }, {}],
    ['not a value of another type', { email_verified: { value: 'false' } }, {}],
    ['an object of that value', { address: { value: { country: 'UK' } } }, { address: { country: 'UK' } }],
    ['nothing about the sign-in', { sub: null, acr: null, auth_time: { essential: true } }, {}],
  ])('%s', (_what, asked, expected) => {
    expect(claimsRequested(user, parse({ userinfo: asked }).userinfo, EVERY_SCOPE)).toEqual(expected);
  });

  it('no more than the client is registered for by then', () => {
    const { userinfo } = parse({ userinfo: { name: null, address: null } });
    expect(Object.keys(claimsRequested(user, userinfo, EVERY_SCOPE)).sort()).toEqual(['address', 'name']);
    expect(Object.keys(claimsRequested(user, userinfo, ['openid', 'address']))).toEqual(['address']);
    expect(claimsRequested(user, userinfo, ['openid'])).toEqual({});
  });
});
