// Which fields of GitHub's schema carry source code or what leads to it. A client that
// promises never to read source must not select one: each use is recorded.
// Texts that people write (bodies) may quote code; they are counted apart.

export const SOURCE_MARKER = 'SECRET SOURCE LINE';
export const BODY_MARKER = 'SECRET BODY LINE';

const SOURCE_FIELDS = {
  Repository: ['object', 'tempCloneToken', 'codeowners', 'submodules', 'issueTemplates', 'pullRequestTemplates', 'contributingGuidelines', 'languages', 'dependencyGraphManifests'],
  PullRequest: ['files', 'viewerMergeBodyText', 'viewerMergeHeadlineText'],
  PullRequestReviewComment: ['diffHunk', 'path', 'line', 'startLine', 'originalLine', 'originalStartLine', 'position', 'originalPosition'],
  PullRequestReviewThread: ['path', 'line', 'startLine', 'originalLine', 'originalStartLine'],
  PullRequestThread: ['path', 'line', 'startLine', 'originalLine', 'originalStartLine'],
  CommitComment: ['path', 'position'],
  CommitCommentThread: ['path', 'position'],
  PullRequestCommitCommentThread: ['path', 'position'],
  Commit: ['message', 'messageBody', 'messageBodyHTML', 'messageHeadline', 'messageHeadlineHTML', 'tree', 'file', 'blame', 'submodules', 'tarballUrl', 'zipballUrl'],
  Ref: ['compare'],
  Release: ['releaseAssets'],
  Deployment: ['payload'],
  DeploymentStatus: ['logUrl'],
  Tag: ['message'],
  CheckAnnotation: ['path', 'location', 'message', 'rawDetails', 'blobUrl'],
  SearchResultItemEdge: ['textMatches'],
};

// Types of which every field is source.
const SOURCE_TYPES = new Set(['Blob', 'Tree', 'TreeEntry', 'Blame', 'BlameRange', 'Submodule', 'PullRequestChangedFile', 'Gist', 'GistFile', 'Comparison', 'RepositoryCodeowners', 'PullRequestTemplate', 'IssueTemplate', 'ContributingGuidelines', 'TextMatch', 'ReleaseAsset']);

const BODY_FIELDS = new Set(['body', 'bodyHTML', 'bodyText', 'dismissalMessage', 'dismissalMessageHTML']);

// The notes and remarks of what is delivered.
const NOTE_FIELDS = {
  Release: ['description', 'descriptionHTML', 'shortDescriptionHTML'],
  Deployment: ['description'],
  DeploymentStatus: ['description'],
};

export function carriesSource(typeName, fieldName) {
  if (fieldName === '__typename') return false;
  return SOURCE_TYPES.has(typeName) || Boolean(SOURCE_FIELDS[typeName]?.includes(fieldName));
}

export function carriesBody(typeName, fieldName) {
  return (BODY_FIELDS.has(fieldName) || Boolean(NOTE_FIELDS[typeName]?.includes(fieldName))) && !carriesSource(typeName, fieldName);
}
