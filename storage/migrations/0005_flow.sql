-- flow: workflows, their executions, schedules, webhooks and variables.
-- Names, types and defaults are those Prisma derives from storage/tekup.prisma.

CREATE SCHEMA IF NOT EXISTS flow;

CREATE TABLE flow."FlowWorkflow" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "status" TEXT NOT NULL DEFAULT 'draft',
    "trigger" JSONB NOT NULL,
    "nodes" JSONB NOT NULL,
    "edges" JSONB NOT NULL,
    "timeout" INTEGER NOT NULL DEFAULT 3600,
    "retryAttempts" INTEGER NOT NULL DEFAULT 3,
    "owner" TEXT NOT NULL,
    "executionCount" INTEGER NOT NULL DEFAULT 0,
    "successCount" INTEGER NOT NULL DEFAULT 0,
    "failureCount" INTEGER NOT NULL DEFAULT 0,
    "avgDurationMs" INTEGER,
    "lastExecutedAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "FlowWorkflow_pkey" PRIMARY KEY ("id")
);

CREATE TABLE flow."FlowExecution" (
    "id" TEXT NOT NULL,
    "workflowId" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'running',
    "input" JSONB,
    "output" JSONB,
    "error" TEXT,
    "currentStep" TEXT,
    "triggeredBy" TEXT,
    "metadata" JSONB,
    "startedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "completedAt" TIMESTAMP(3),
    "durationMs" INTEGER,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "FlowExecution_pkey" PRIMARY KEY ("id")
);

CREATE TABLE flow."FlowExecutionStep" (
    "id" TEXT NOT NULL,
    "executionId" TEXT NOT NULL,
    "stepId" TEXT NOT NULL,
    "stepName" TEXT NOT NULL,
    "stepType" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'pending',
    "input" JSONB,
    "output" JSONB,
    "error" TEXT,
    "attemptNumber" INTEGER NOT NULL DEFAULT 1,
    "startedAt" TIMESTAMP(3),
    "completedAt" TIMESTAMP(3),
    "durationMs" INTEGER,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "FlowExecutionStep_pkey" PRIMARY KEY ("id")
);

CREATE TABLE flow."FlowExecutionLog" (
    "id" SERIAL NOT NULL,
    "executionId" TEXT NOT NULL,
    "stepId" TEXT,
    "level" TEXT NOT NULL,
    "message" TEXT NOT NULL,
    "data" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "FlowExecutionLog_pkey" PRIMARY KEY ("id")
);

CREATE TABLE flow."FlowSchedule" (
    "id" TEXT NOT NULL,
    "workflowId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "cronExpression" TEXT,
    "intervalMinutes" INTEGER,
    "timezone" TEXT NOT NULL DEFAULT 'Europe/Copenhagen',
    "isActive" BOOLEAN NOT NULL DEFAULT true,
    "lastRun" TIMESTAMP(3),
    "nextRun" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "FlowSchedule_pkey" PRIMARY KEY ("id")
);

CREATE TABLE flow."FlowWebhook" (
    "id" TEXT NOT NULL,
    "workflowId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "url" TEXT NOT NULL,
    "method" TEXT NOT NULL DEFAULT 'POST',
    "secret" TEXT,
    "isActive" BOOLEAN NOT NULL DEFAULT true,
    "requestCount" INTEGER NOT NULL DEFAULT 0,
    "lastRequestAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "FlowWebhook_pkey" PRIMARY KEY ("id")
);

CREATE TABLE flow."FlowVariable" (
    "id" TEXT NOT NULL,
    "workflowId" TEXT,
    "key" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "type" TEXT NOT NULL DEFAULT 'string',
    "isSecret" BOOLEAN NOT NULL DEFAULT false,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "FlowVariable_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "FlowWorkflow_status_idx" ON flow."FlowWorkflow"("status");
CREATE INDEX "FlowWorkflow_owner_idx" ON flow."FlowWorkflow"("owner");
CREATE INDEX "FlowExecution_workflowId_startedAt_idx" ON flow."FlowExecution"("workflowId", "startedAt");
CREATE INDEX "FlowExecution_status_idx" ON flow."FlowExecution"("status");
CREATE INDEX "FlowExecutionStep_executionId_idx" ON flow."FlowExecutionStep"("executionId");
CREATE INDEX "FlowExecutionStep_status_idx" ON flow."FlowExecutionStep"("status");
CREATE INDEX "FlowExecutionLog_executionId_createdAt_idx" ON flow."FlowExecutionLog"("executionId", "createdAt");
CREATE INDEX "FlowExecutionLog_level_idx" ON flow."FlowExecutionLog"("level");
CREATE INDEX "FlowSchedule_workflowId_idx" ON flow."FlowSchedule"("workflowId");
CREATE INDEX "FlowSchedule_isActive_nextRun_idx" ON flow."FlowSchedule"("isActive", "nextRun");
CREATE UNIQUE INDEX "FlowWebhook_url_key" ON flow."FlowWebhook"("url");
CREATE INDEX "FlowWebhook_workflowId_idx" ON flow."FlowWebhook"("workflowId");
CREATE UNIQUE INDEX "FlowVariable_workflowId_key_key" ON flow."FlowVariable"("workflowId", "key");

ALTER TABLE flow."FlowExecution" ADD CONSTRAINT "FlowExecution_workflowId_fkey" FOREIGN KEY ("workflowId") REFERENCES flow."FlowWorkflow"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE flow."FlowExecutionStep" ADD CONSTRAINT "FlowExecutionStep_executionId_fkey" FOREIGN KEY ("executionId") REFERENCES flow."FlowExecution"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE flow."FlowExecutionLog" ADD CONSTRAINT "FlowExecutionLog_executionId_fkey" FOREIGN KEY ("executionId") REFERENCES flow."FlowExecution"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE flow."FlowSchedule" ADD CONSTRAINT "FlowSchedule_workflowId_fkey" FOREIGN KEY ("workflowId") REFERENCES flow."FlowWorkflow"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE flow."FlowWebhook" ADD CONSTRAINT "FlowWebhook_workflowId_fkey" FOREIGN KEY ("workflowId") REFERENCES flow."FlowWorkflow"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE flow."FlowVariable" ADD CONSTRAINT "FlowVariable_workflowId_fkey" FOREIGN KEY ("workflowId") REFERENCES flow."FlowWorkflow"("id") ON DELETE CASCADE ON UPDATE CASCADE;
