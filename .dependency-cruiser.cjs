/**
 * The import rules of docs/architecture.md. Each comment says what to do instead.
 * test/architecture.test.ts plants a violation of every rule and sees it caught.
 */
const INSIDE = '^src/(protocol|features)/';
const SQL = '\\.pg\\.ts$';
/** A package, wherever it is installed. */
const packages = (names) => `(^|node_modules/)(${names})(/|$)`;

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      comment: 'Two modules that need each other are one module, or a third one is missing: move the shared part down.',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'pure-inside',
      severity: 'error',
      comment:
        'The kernel and the rooms know no framework, database, logger or template engine. Take an interface and let src/features.ts hand the implementation in.',
      from: { path: INSIDE, pathNot: SQL },
      to: { path: packages('fastify|@fastify/[^/]+|kysely|pg|pino|eta|commander') },
    },
    {
      name: 'kernel-knows-no-room',
      severity: 'error',
      comment: 'The kernel reaches features only through the registries. Register a value in the room instead.',
      from: { path: '^src/protocol/' },
      to: { path: '^src/', pathNot: '^src/protocol/' },
    },
    {
      name: 'rooms-share-no-doors',
      severity: 'error',
      comment: 'A room imports the kernel and itself. What two rooms need moves to src/protocol.',
      from: { path: '^src/features/([^/]+)/', pathNot: SQL },
      to: { path: '^src/', pathNot: ['^src/protocol/', '^src/features/$1/'] },
    },
    {
      name: 'sql-enters-by-composition',
      severity: 'error',
      comment:
        'Only what composes imports *.pg.ts: src/features.ts, src/server.ts, the operator verbs and commands, or a store test.',
      from: {
        path: '^src/',
        pathNot: ['^src/(features|server)\\.ts$', '^src/(cli|operator)/', '^src/cli\\.ts$', SQL, '^src/postgres/'],
      },
      to: { path: SQL },
    },
    {
      name: 'sql-knows-its-room',
      severity: 'error',
      comment:
        'A *.pg.ts file implements the interface declared beside it: it sees its room, the kernel and src/postgres only.',
      from: { path: `^src/features/([^/]+)/.*${SQL}` },
      to: { path: '^src/', pathNot: ['^src/protocol/', '^src/postgres/', '^src/features/$1/'] },
    },
    {
      name: 'one-door-for-jose',
      severity: 'error',
      comment:
        'What we encrypt to clients lives in src/protocol/jose-client.ts, what is encrypted to us in jose-decryption.ts (and gatehouse/resource-server, which is used by others, has its own).',
      from: {
        path: '^src/',
        pathNot: ['^src/protocol/jose-(client|decryption)\\.ts$', '^src/resource-server/'],
      },
      to: { path: packages('jose') },
    },
    {
      name: 'one-door-for-argon2',
      severity: 'error',
      comment: 'Passwords are hashed in src/protocol/secrets.ts, behind its bounded queue.',
      from: { path: '^src/', pathNot: '^src/protocol/secrets\\.ts$' },
      to: { path: packages('argon2|@node-rs/argon2') },
    },
    {
      name: 'one-door-for-ajv',
      severity: 'error',
      comment:
        'JSON Schemas are compiled into code in src/protocol/details-type.ts, after their keywords were checked. Our own data is checked by zod.',
      from: { path: '^src/', pathNot: '^src/protocol/details-type\\.ts$' },
      to: { path: packages('ajv') },
    },
    {
      name: 'fastify-stays-at-the-edge',
      severity: 'error',
      comment: 'Only src/http knows Fastify (and src/resource-server, a Fastify plugin for APIs).',
      from: { path: '^src/', pathNot: ['^src/http/', '^src/resource-server/'] },
      to: { path: packages('fastify|@fastify/[^/]+') },
    },
    {
      name: 'resource-server-stands-alone',
      severity: 'error',
      comment: 'gatehouse/resource-server is what an API installs: it must not pull the authorization server in.',
      from: { path: '^src/resource-server/' },
      to: { path: '^src/', pathNot: '^src/resource-server/' },
    },
    {
      name: 'product-does-not-import-tests-or-examples',
      severity: 'error',
      comment: 'What ships does not depend on what tests, shows or measures it.',
      from: { path: '^src/' },
      to: { path: '^(test|examples|bench)/' },
    },
    {
      name: 'no-undeclared-dependency',
      severity: 'error',
      comment: 'Declare it in package.json (dependencies for src, devDependencies elsewhere).',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev', 'unknown'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['gatehouse-source', 'import', 'require', 'node', 'default', 'types'],
    },
  },
};
