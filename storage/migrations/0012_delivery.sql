-- Deliveries of webhooks that a sync was started for, so that a replay starts none, whichever daemon
-- on this database it comes to (storage/deliveries.h).
CREATE TABLE tekupdb."Delivery" (
    "service" text NOT NULL,           -- whose webhook: github
    "id" text NOT NULL,                -- as the service names the delivery
    "receivedAt" timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("service", "id")
);
CREATE INDEX "Delivery_receivedAt_idx" ON tekupdb."Delivery" ("receivedAt");
