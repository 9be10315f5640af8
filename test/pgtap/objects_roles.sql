-- Roles of the four levels, named by the variables app, viewer, operator and gateway.
CREATE ROLE :"app";
CREATE ROLE :"viewer";
CREATE ROLE :"operator";
CREATE ROLE :"gateway";
SELECT todo_events.grant_access(:'app', 'app') AS done \gset
SELECT todo_events.grant_access(:'viewer', 'viewer') AS done \gset
SELECT todo_events.grant_access(:'operator', 'operator') AS done \gset
SELECT todo_events.grant_access(:'gateway', 'gateway') AS done \gset
